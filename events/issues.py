"""Issues of the newsletter, as far as the log knows them: that one has gone out. Its mails are rows of the ledger."""

from uuid import UUID

from events.log import ids
from events.log.event import Event


class IssueSent(Event, frozen=True, kw_only=True):
    """No mail of an issue waited any more: of `planned` readers, the servers of `accepted` took theirs."""

    issue: int
    edition: str
    planned: int
    accepted: int


EVENTS = (IssueSent,)


def stream(issue: int) -> UUID:
    """Return the stream of an issue, by its number."""
    return ids.stream_named("issue", str(issue))


def record_sent(last: Event | None, sent: IssueSent) -> list[Event]:
    """Record that an issue has gone out; an issue whose mails are sent again later has gone out already."""
    return [] if isinstance(last, IssueSent) else [sent]
