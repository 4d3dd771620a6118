"""Bounces and complaints: each counts once, by whichever way it is reported, and has its own consequence."""

import hmac
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emails import ses
from services.newsletter import holds, reports
from services.newsletter.reports import Report, WebhookEvent, read_event, read_mail
from services.settings import Newsletter
from tests.support.mails import BOUNCE
from tests.support.newsroom import Newsroom
from tests.support.settings import settings
from tests.support.sites import client

SECRET = "a-webhook-secret-of-the-tests"
TOPIC = "arn:aws:sns:eu-west-1:1:bounces"


async def tell(room: Newsroom, **report: Any) -> reports.ReportResult:
    """Apply one report."""
    given = Report(**{"fingerprint": str(report).encode(), **report})
    finder = await room.vault.finder(room.database)
    (applied,) = await reports.apply(room.database, room.committer, finder, [given])
    return applied


async def suppressed(room: Newsroom, reader: str) -> str | None:
    why: str | None = await room.database.fetchval("select suppressed from vault.lookups where person = $1", reader)
    return why


async def test_complaints_and_hard_bounces_suppress_at_once(room: Newsroom) -> None:
    """Found by our Message-ID or by the address; again is no news; and a stranger's report is about nobody."""
    ada, bob = await room.subscribe("ada@example.com"), await room.subscribe("bob@example.com")
    await room.project()
    number = await room.send_now()
    by_mail = await tell(room, kind="complaint", message_id=f"<issue-{number}.{ada}@verdicts.example>")
    by_address = await tell(room, kind="hard", recipient="BOB@example.com")
    assert (by_mail.reader, by_address.reader) == (ada, bob)
    assert (await suppressed(room, ada), await suppressed(room, bob)) == ("complaint", "hard bounce")
    assert await room.accounts(number) == {"cancelled": 2}
    assert (await tell(room, kind="hard", recipient="stranger@example.com")).reader is None
    head = await room.database.fetchval("select position from log.head")
    await tell(room, kind="hard", recipient="bob@example.com")
    assert await room.database.fetchval("select position from log.head") == head


async def test_a_bounce_by_mail_counts_by_our_message_id_alone(room: Newsroom) -> None:
    """A notice about a mail of ours suppresses its reader; one that names an address but no mail of ours does nothing."""
    ada = await room.subscribe("ada@example.com")
    await room.project()
    number = await room.send_now()
    finder = await room.vault.finder(room.database)
    for message_id, gone in (
        (b"made-up@verdicts.example", False),
        (b"issue-%d.%s@verdicts.example" % (number, ada.encode()), True),
    ):
        await reports.apply(room.database, room.committer, finder, read_mail(BOUNCE % message_id, room.tokens))
        assert (await suppressed(room, ada) is not None) is gone
    assert read_mail(b"Subject: hello\n\nI bounced.", room.tokens) == []


@pytest.mark.parametrize(
    ("days", "taken_after", "gone"),
    [((0, 7, 15), None, True), ((0, 7, 14), None, False), ((0, 8, 16), 1, False), ((0, 7, 14, 21), None, True)],
)
async def test_a_row_of_soft_bounces_over_fifteen_days(
    room: Newsroom, days: tuple[int, ...], taken_after: int | None, gone: bool
) -> None:
    """Three or more suppress if they span that long, also weekly ones; not with a mail between them that no bounce answered."""
    ada = await room.subscribe("ada@example.com")
    for number, day in enumerate(days[:-1]):
        assert not (await tell(room, kind="soft", recipient='"Ada" <ada@example.com>', code=f"4.2.{day}")).suppressed
        gap = timedelta(days=days[number + 1] - day)
        await room.database.execute("update newsletter.bounces set recorded_at = recorded_at - $1::interval", gap)
    if taken_after is not None:
        await room.database.execute(
            "insert into newsletter.mails (issue, reader, kind, state, not_before, settled_at)"
            " values (1, $1, 'digest', 'accepted', now(), now() - interval '15 days')",
            ada,
        )
    assert (await tell(room, kind="soft", recipient="ada@example.com", code="4.2.2")).suppressed is gone


async def test_bounces_about_us_suppress_nobody(room: Newsroom) -> None:
    """However many weeks a reader's server refuses us as spam, the reader stays; the refusals are counted for operators."""
    ada = await room.subscribe("ada@example.com")
    for week in range(6):
        told = await tell(room, kind="soft", recipient="ada@example.com", about_us=True, code=f"5.7.{week}")
        assert (told.reader, told.suppressed, told.about_us) == (ada, False, True)
        await room.database.execute("update newsletter.bounces set recorded_at = recorded_at - interval '7 days'")
    assert (await holds.read_refused(room.database)).readers == 0
    await tell(room, kind="soft", recipient="ada@example.com", about_us=True)
    assert (await holds.read_refused(room.database)).readers == 1


@pytest.mark.parametrize(
    "event, kind, about_us",
    [
        ({"hard": True}, "hard", False), ({"hard": True, "code": "5.1.1"}, "hard", False),
        ({"hard": True, "code": "550 5.7.1 blocked"}, "soft", True), ({"hard": True, "code": "5.2.2"}, "soft", False),
        ({"code": "5.1.1"}, "soft", False), ({}, "soft", False),
    ],
)  # fmt: skip
def test_a_provider_that_calls_a_refusal_of_us_hard_is_corrected(event: dict[str, Any], kind: str, about_us: bool) -> None:
    """The generic webhook is judged by the same table as every other refusal."""
    report = read_event(WebhookEvent(type="bounce", **event), b"x")
    assert (report.kind, report.about_us) == (kind, about_us)


@pytest.mark.parametrize(
    "bounce, recipient, kind, about_us",
    [
        (("Permanent", "General"), {"status": "5.1.1"}, "hard_bounce", False),
        (("Permanent", "General"), {}, "hard_bounce", False),
        (("Permanent", "OnAccountSuppressionList"), {"status": "5.1.1"}, "hard_bounce", False),
        (("Permanent", "General"), {"status": "5.7.1", "diagnosticCode": "smtp; 550 blocked"}, "soft_bounce", True),
        (("Transient", "MailboxFull"), {}, "soft_bounce", False),
        (("Transient", "General"), {"status": "4.4.7"}, "soft_bounce", False),
        (("Transient", "General"), {}, "soft_bounce", True),  # what SES makes of an out-of-office reply
        (("Transient", "ContentRejected"), {"status": "5.6.1"}, "soft_bounce", True),
    ],
)
def test_amazons_bounces_are_judged_by_the_same_table(
    bounce: tuple[str, str], recipient: dict[str, str], kind: str, about_us: bool
) -> None:
    """Amazon's own types count where the remote server's code and words say less."""
    told = {"bounceType": bounce[0], "bounceSubType": bounce[1], "bouncedRecipients": [{"emailAddress": "a@b.c", **recipient}]}
    report = {"notificationType": "Bounce", "bounce": told}
    (notice,) = ses.read({"Type": "Notification", "MessageId": "m", "Message": json.dumps(report)})
    assert (notice.kind, notice.about_us) == (kind, about_us)


def test_a_mail_taken_out_of_the_spam_folder_is_no_complaint() -> None:
    """Amazon passes on not-spam reports as complaints of that type: they say the contrary."""
    told = {"complaintFeedbackType": "not-spam", "complainedRecipients": [{"emailAddress": "ada@example.com"}]}
    report = {"notificationType": "Complaint", "complaint": told}
    assert ses.read({"Type": "Notification", "MessageId": "m", "Message": json.dumps(report)}) == []


async def test_a_suppressed_address_stays_so_after_erasure(room: Newsroom) -> None:
    """Erased, its HMAC alone is kept, and signing up again sends nothing."""
    from events.commands.subscribers import EraseSubscriber

    ada = await room.subscribe("ada@example.com")
    await tell(room, kind="complaint", recipient="ada@example.com")
    await room.committer.submit(EraseSubscriber(ada))
    await room.deliver()
    assert await room.sign_up("ada@example.com") is None
    await room.deliver()
    assert room.sink.mails == []
    assert await room.database.fetchval("select person from vault.lookups") is None


async def test_the_generic_hook_believes_signatures_only(dsn: str, valkey_url: str, tmp_path: Path, connection: Any) -> None:
    """Unsigned, wrongly signed and old calls are 401 and change nothing; a signed one may be repeated."""
    given = settings(dsn, valkey_url, home=tmp_path, newsletter=Newsletter(webhook_secrets=(SECRET,)))
    body = json.dumps({"events": [{"type": "bounce", "hard": True, "recipient": "x@example.com", "provider": "any"}]}).encode()

    def signed(at: int, secret: str = SECRET) -> dict[str, str]:
        return {"ballotpress-signature": f"t={at},v1={hmac.digest(secret.encode(), b'%d.' % at + body, 'sha256').hex()}"}

    at = int(time.time())
    async with client(given) as http:
        for headers in ({}, signed(at, "another"), signed(at - 400), {"ballotpress-signature": "t=1"}):
            assert (await http.post("/v1/webhooks/mail/generic", content=body, headers=headers)).status_code == 401
        for _ in range(2):
            taken = await http.post("/v1/webhooks/mail/generic", content=body, headers=signed(at))
            assert (taken.status_code, taken.json()) == (200, {"known": 0, "suppressed": 0})
        large = await http.post("/v1/webhooks/mail/generic", content=b"x" * (2**20 + 1))
        assert large.status_code == 413
