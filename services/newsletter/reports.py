"""Read bounces and complaints, from returned mail or a provider's webhook, and suppress the addresses that are gone.

A complaint or hard bounce suppresses the address at once; three soft bounces in a row do if they span
fifteen days or more. An accepted mail without a report within five days breaks the row. A repeated report counts once.
"""

import logging
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from emails import ses
from emails.addresses import AddressRefused
from emails.bounces import classify
from events.commands.subscribers import SuppressSubscriber
from events.log.committer import Committer
from events.log.ids import is_id
from events.log.vault import Finder
from events.subscribers import Reason
from services.newsletter.ledger import Database
from services.newsletter.subscribers import find

Kind = Literal["complaint", "hard", "soft"]

_OURS: Final = re.compile(r"<?(?:issue-(?P<issue>\d{1,9})|mail-[A-Za-z0-9_-]{22})\.(?P<reader>[A-Za-z0-9_-]{22})@")
_REASONS: Final[dict[Kind, Reason]] = {"complaint": "complaint", "hard": "hard bounce"}
_KINDS: Final[dict[str, Kind]] = {"hard_bounce": "hard", "soft_bounce": "soft", "complaint": "complaint"}

IS_MAILED: Final = "select exists (select from newsletter.mails where reader = $1)"
KEEP: Final = """
insert into newsletter.bounces (reader, report, kind, code) values ($1, $2, $3, $4) on conflict (reader, report) do nothing
"""
IS_GONE: Final = """
with soft as (
    select min(b.recorded_at) as first, max(b.recorded_at) as last, count(*) as bounces
    from (select recorded_at from newsletter.bounces where reader = $1 and kind = 'soft' order by recorded_at desc limit 3) b
)
select s.bounces = 3 and s.last - s.first >= interval '15 days' and not exists (
    select from newsletter.mails m
    where m.reader = $1 and m.state = 'accepted' and m.settled_at between s.first and s.last
      and not exists (
          select from newsletter.bounces b
          where b.reader = $1 and b.recorded_at between m.settled_at and m.settled_at + interval '5 days'))
from soft s
"""

logger = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint. Our Message-ID or the address names its reader. A repeated report has the same fingerprint."""

    kind: Kind
    fingerprint: bytes
    message_id: str | None = None
    recipient: str | None = None
    code: str | None = None


class ReportResult(msgspec.Struct, frozen=True):
    """The result of a report: its reader (None if unknown) and whether it suppressed the address."""

    kind: Kind
    reader: str | None = None
    suppressed: bool = False


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint as the generic webhook reports it; `id` is the provider's own, if it has one."""

    type: Literal["bounce", "complaint"]
    hard: bool = False
    recipient: str | None = None
    message_id: str | None = None
    code: str | None = None
    id: str | None = None


def read_mail(raw: bytes) -> list[Report]:
    """Return the reports in a returned mail; empty unless it is a bounce or complaint about a mail of ours.

    Anybody can write such a mail. No address in it is believed, only a Message-ID of ours, which its reader alone has seen.
    """
    report = classify(raw)
    kind = _KINDS.get(report.kind)
    if kind is None or report.message_id is None:
        return []
    code = next((recipient.status for recipient in report.recipients if recipient.status), None)
    fingerprint = _fingerprint(f"{report.kind} {report.message_id}", b"mail")
    return [Report(kind=kind, fingerprint=fingerprint, message_id=report.message_id, code=code)]


def read_ses(message: dict[str, Any]) -> list[Report]:
    """Return the reports in a verified notification of Amazon's."""
    return [
        Report(
            kind=_KINDS[notice.kind],
            fingerprint=_fingerprint(notice.id, b"ses"),
            message_id=notice.message_id,
            recipient=notice.recipient,
            code=notice.status,
        )
        for notice in ses.read(message)
    ]


def read_event(event: WebhookEvent, fingerprint: bytes) -> Report:
    """Return the report in an event of the generic webhook."""
    return Report(
        kind="complaint" if event.type == "complaint" else "hard" if event.hard else "soft",
        fingerprint=fingerprint,
        message_id=event.message_id,
        recipient=event.recipient,
        code=event.code[:40] if event.code else None,
    )


def _fingerprint(text: str, source: bytes) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=source).digest()


async def apply(database: Database, committer: Committer, finder: Finder, reports: Sequence[Report]) -> list[ReportResult]:
    """Record reports, in turn, and suppress the addresses they say are gone; safe to repeat."""
    return [await _apply(database, committer, finder, report) for report in reports]


async def _apply(database: Database, committer: Committer, finder: Finder, report: Report) -> ReportResult:
    reader = await _reader(database, finder, report)
    if reader is None:
        logger.info("a %s report is about no reader we know", report.kind)
        return ReportResult(report.kind)
    await database.execute(KEEP, reader, report.fingerprint, report.kind, report.code)
    reason = _REASONS.get(report.kind)
    if reason is None and await database.fetchval(IS_GONE, reader):
        reason = "soft bounces"
    if reason is not None:
        await committer.submit(SuppressSubscriber(reader, reason))
    return ReportResult(report.kind, reader, reason is not None)


async def _reader(database: Database, finder: Finder, report: Report) -> str | None:
    """Return the reader of the mail that a report answers, else of the address that it names."""
    found = _OURS.match(report.message_id or "")
    if found is not None and is_id(found["reader"]) and await database.fetchval(IS_MAILED, found["reader"]):
        return found["reader"]
    if report.recipient is None:
        return None
    try:
        return (await find(database, finder, report.recipient))[0]
    except AddressRefused:
        return None
