"""That an issue has gone out is recorded once."""

from events.issues import IssueSent, record_sent

SENT = IssueSent(issue=3, edition="weekly", planned=10, accepted=9)


def test_an_issue_goes_out_once() -> None:
    """Mails that are sent again later don't make it go out again."""
    assert record_sent(None, SENT) == [SENT]
    assert record_sent(SENT, IssueSent(issue=3, edition="weekly", planned=10, accepted=10)) == []
