"""What bounces and complaints mean for a subscriber, however they are told of: by mail, or by a provider's call.

A complaint or hard bounce suppresses at once; soft bounces do when three in a row span fifteen days or more. A mail that was
taken and that no report followed within five days breaks the row. The same report twice counts once.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from emails.addresses import AddressRefused
from events.commands.subscribers import SuppressSubscriber
from events.log.committer import Committer
from events.log.ids import is_id
from events.log.vault import Finder
from events.subscribers import Reason
from services.newsletter import subscribers
from services.newsletter.ledger import Database

Kind = Literal["complaint", "hard", "soft"]

_OURS: Final = re.compile(r"<?(?:issue-(?P<issue>\d{1,9})|mail-[A-Za-z0-9_-]{22})\.(?P<reader>[A-Za-z0-9_-]{22})@")
_REASONS: Final[dict[Kind, Reason]] = {"complaint": "complaint", "hard": "hard bounce"}

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


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """One bounce or complaint: whose, by our Message-ID or the address, and what tells the report from all others."""

    kind: Kind
    fingerprint: bytes
    message_id: str | None = None
    recipient: str | None = None
    code: str | None = None


class Applied(msgspec.Struct, frozen=True):
    """What a report came to: the reader it is about, None for nobody we know, and whether nothing is sent there any more."""

    kind: Kind
    reader: str | None = None
    suppressed: bool = False


async def apply(database: Database, committer: Committer, finder: Finder, reports: Sequence[Reported]) -> list[Applied]:
    """Take reports in, in turn; safe to repeat."""
    return [await _apply(database, committer, finder, report) for report in reports]


async def _apply(database: Database, committer: Committer, finder: Finder, report: Reported) -> Applied:
    reader = await _reader(database, finder, report)
    if reader is None:
        logger.info("a %s report is about nobody we know", report.kind)
        return Applied(report.kind)
    await database.execute(KEEP, reader, report.fingerprint, report.kind, report.code)
    reason = _REASONS.get(report.kind)
    if reason is None and await database.fetchval(IS_GONE, reader):
        reason = "soft bounces"
    if reason is not None:
        await committer.submit(SuppressSubscriber(reader, reason))
    return Applied(report.kind, reader, reason is not None)


async def _reader(database: Database, finder: Finder, report: Reported) -> str | None:
    """Find who a report is about: by the mail it answers, which names its reader, else by the address."""
    found = _OURS.match(report.message_id or "")
    if found is not None and is_id(found["reader"]) and await database.fetchval(IS_MAILED, found["reader"]):
        return found["reader"]
    if report.recipient is None:
        return None
    try:
        return (await subscribers.find(database, finder, report.recipient))[0]
    except AddressRefused:
        return None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint as the generic webhook tells it; `id` is the provider's own, if it has one."""

    type: Literal["bounce", "complaint"]
    hard: bool = False
    recipient: str | None = None
    message_id: str | None = None
    code: str | None = None
    id: str | None = None


def reported(told: Told, fingerprint: bytes) -> Reported:
    """Read what the generic webhook tells."""
    kind: Kind = "complaint" if told.type == "complaint" else "hard" if told.hard else "soft"
    code: Any = told.code[:40] if told.code else None
    return Reported(kind=kind, fingerprint=fingerprint, message_id=told.message_id, recipient=told.recipient, code=code)
