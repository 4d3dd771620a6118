"""Read bounces and complaints, from the relay, returned mail or a provider's webhook, and suppress the addresses that are gone.

A complaint or hard bounce suppresses the address at once; a row of three soft bounces or more does if it spans fifteen
days. An accepted mail without a report within five days breaks the row. A bounce that is about us is counted and suppresses
nobody. A repeated report counts once.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parseaddr
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from emails import ses
from emails.addresses import AddressRefused, read_address
from emails.bounces import classify, whole
from emails.refusals import Verdict, judge, judge_reported
from events.commands.subscribers import SuppressSubscriber
from events.log.committer import Committer
from events.log.ids import is_id
from events.log.vault import Finder
from events.subscribers import Reason
from services.newsletter.ledger import Database, MailOutcome
from services.newsletter.tokens import MailTokens, TokenInvalid

Kind = Literal["complaint", "hard", "soft"]

_OURS: Final = re.compile(r"(?<![A-Za-z0-9_-])(?:issue-\d{1,9}|mail-[A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})@", re.ASCII)
_COMPLAINT_ID: Final = re.compile(
    r"^cfbl-feedback-id:\s*([A-Za-z0-9_-]{22}:[A-Za-z0-9_-]{43})(?![\w-])", re.IGNORECASE | re.MULTILINE
)
_TOKEN: Final = re.compile(r"(?<=[?&]token=)[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}")
_JUDGED: Final[dict[Verdict, Kind]] = {"gone": "hard", "passing": "soft", "ours": "soft", "arrived": "soft"}
_KINDS: Final[dict[str, Kind]] = {"hard_bounce": "hard", "soft_bounce": "soft", "complaint": "complaint"}

MAILED: Final = """
select r.reader from unnest($1::text[]) r(reader) where exists (select from newsletter.mails m where m.reader = r.reader)
"""
KNOWN: Final = "select mark, person from vault.lookups where mark = any($1::bytea[])"
# A report that was known before an operator or the reader took a suppression back stays forgiven.
KEEP: Final = """
insert into newsletter.bounces as b (reader, report, kind, code)
select * from unnest($1::text[], $2::bytea[], $3::text[], $4::text[]) order by 1, 2
on conflict (reader, report) do update set kind = b.kind returning b.reader, b.report, b.kind
"""
GONE: Final = """
with taken as (
    select r.reader, max(m.settled_at) as at
    from unnest($1::text[]) r(reader)
    join newsletter.mails m on m.reader = r.reader and m.state = 'accepted'
     and m.settled_at < (select max(b.recorded_at) from newsletter.bounces b where b.reader = r.reader and b.kind = 'soft')
     and not exists (
         select from newsletter.bounces b
         where b.reader = r.reader and b.recorded_at between m.settled_at and m.settled_at + interval '5 days')
    group by r.reader
)
select b.reader
from newsletter.bounces b left join taken t on t.reader = b.reader
where b.reader = any($1::text[]) and b.kind = 'soft' and b.recorded_at > coalesce(t.at, '-infinity')
group by b.reader
having count(*) >= 3 and max(b.recorded_at) - min(b.recorded_at) >= interval '15 days'
"""

logger = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint about a reader, by id, by a Message-ID of ours, or by the address. A repeat has its fingerprint.

    One that is about us says nothing of the reader's mailbox.
    """

    kind: Kind
    fingerprint: bytes
    reader: str | None = None
    message_id: str | None = None
    recipient: str | None = None
    code: str | None = None
    about_us: bool = False


class ReportResult(msgspec.Struct, frozen=True):
    """The result of a report: its reader (None if unknown), whether it suppressed the address, and whether it is about us."""

    kind: Kind
    reader: str | None = None
    suppressed: bool = False
    about_us: bool = False


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint as the generic webhook reports it; `id` is the provider's own, if it has one."""

    type: Literal["bounce", "complaint"]
    hard: bool = False
    recipient: str | None = None
    message_id: str | None = None
    code: str | None = None
    id: str | None = None


def read_mail(raw: bytes, tokens: MailTokens) -> list[Report]:
    """Return the reports in a returned mail; empty unless it is a bounce or complaint about a mail of ours.

    Anybody can write such a mail. No address in it is believed. A bounce is believed by a Message-ID of ours. A complaint
    isn't, since strangers read that where its reader answers in public: it needs what we signed and sent to the reader alone,
    a link to unsubscribe or an id for complaints, wherever in the mail it stands.
    """
    report = classify(raw)
    kind = _KINDS.get(report.kind)
    reader = None if kind is None else _proven(f"{report.message_id} {whole(raw)}", tokens, needs_signature=kind == "complaint")
    if kind is None or reader is None:
        return []
    code = next((recipient.status for recipient in report.recipients if recipient.status), None)
    fingerprint = _fingerprint(f"{report.kind} {report.message_id or blake2b(raw).hexdigest()} {reader}", b"mail")
    return [Report(kind=kind, fingerprint=fingerprint, reader=reader, code=code, about_us=report.blames_us)]


def _proven(text: str, tokens: MailTokens, *, needs_signature: bool) -> str | None:
    """Return the reader whom a text proves to be the one of a mail of ours; None if it names none, or several."""
    signed = _signed(text, tokens)
    named = {*signed, *filter(is_id, _OURS.findall(text))}
    return named.pop() if len(named) == 1 and (signed or not needs_signature) else None


def _signed(text: str, tokens: MailTokens) -> set[str]:
    """Return the readers whom links to unsubscribe and ids for complaints in a text name."""
    readers = set()
    for pattern, read in ((_TOKEN, tokens.read_unsubscribe), (_COMPLAINT_ID, tokens.read_complaint)):
        for token in pattern.findall(text):
            with suppress(TokenInvalid):
                readers.add(read(token))
    return readers


def read_ses(message: dict[str, Any]) -> list[Report]:
    """Return the reports in a verified notification of Amazon's."""
    return [
        Report(
            kind=_KINDS[notice.kind],
            fingerprint=_fingerprint(notice.id, b"ses"),
            message_id=_storable(notice.message_id),
            recipient=_storable(notice.recipient),
            code=_storable(notice.status),
            about_us=notice.about_us,
        )
        for notice in ses.read(message)
    ]


def read_event(event: WebhookEvent, fingerprint: bytes) -> Report:
    """Return the report in an event of the generic webhook. A code that says more than `hard` does decides over it."""
    code = event.code or ""
    verdict = judge_reported(code) if event.hard else judge(code).verdict if code else "passing"
    is_hard = event.hard and verdict == "gone"
    return Report(
        kind="complaint" if event.type == "complaint" else "hard" if is_hard else "soft",
        fingerprint=fingerprint,
        message_id=_storable(event.message_id),
        recipient=_storable(event.recipient),
        code=_storable(event.code[:40] if event.code else None),
        about_us=event.type == "bounce" and verdict in ("ours", "arrived"),
    )


def _storable(text: str | None) -> str | None:
    """Return a provider's text without NUL, which PostgreSQL can't hold: a refusal would make it repeat the batch for ever."""
    return None if text is None else text.replace("\0", "")


def _fingerprint(text: str, source: bytes) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=source).digest()


async def apply_refused(database: Database, committer: Committer, outcomes: Sequence[MailOutcome]) -> None:
    """Record the mails that the relay refused for good, and suppress the addresses it says are gone."""
    await _settle(database, committer, [(one.mail.reader, _refusal(one)) for one in outcomes])


def _refusal(one: MailOutcome) -> Report:
    mail, kind, about_us = one.mail, _JUDGED[one.verdict or "ours"], one.verdict == "ours"
    fingerprint = _fingerprint(f"{mail.issue} {mail.reader} {mail.mail} {kind} {about_us}", b"relay")
    code = None if one.code is None else str(one.code)
    return Report(kind=kind, fingerprint=fingerprint, reader=mail.reader, code=code, about_us=about_us)


async def apply(database: Database, committer: Committer, finder: Finder, reports: Sequence[Report]) -> list[ReportResult]:
    """Record reports all at once, and suppress the addresses they say are gone; safe to repeat."""
    readers = await _readers(database, finder, reports)
    suppressed = await _settle(database, committer, [(who, one) for who, one in zip(readers, reports, strict=True) if who])
    if strange := readers.count(None):
        logger.info("reports about no reader we know: %d", strange)
    return [
        ReportResult(one.kind)
        if who is None
        else ReportResult(one.kind, who, (who, one.fingerprint) in suppressed, one.about_us)
        for who, one in zip(readers, reports, strict=True)
    ]


async def _settle(database: Database, committer: Committer, reports: Sequence[tuple[str, Report]]) -> set[tuple[str, bytes]]:
    """Record reports about readers and suppress the addresses that are gone; return the reports for which they are."""
    told = {(reader, one.fingerprint): one for reader, one in reports}
    if not told:
        return set()
    rows = [(who, mark, "ours" if one.about_us else one.kind, one.code) for (who, mark), one in told.items()]
    kept = {(row["reader"], row["report"]): row["kind"] for row in await database.fetch(KEEP, *zip(*rows, strict=True))}
    soft = sorted({reader for (reader, _), kind in kept.items() if kind == "soft"})
    gone = {row["reader"] for row in await database.fetch(GONE, soft)} if soft else set()
    why = {named: _reason(kind, named[0] in gone) for named, kind in kept.items()}
    reasons = {reader: reason for (reader, _), reason in reversed(why.items()) if reason is not None}  # the first counts
    submitted = [committer.submit(SuppressSubscriber(reader, reason)) for reader, reason in reasons.items()]
    for result in await asyncio.gather(*submitted, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
    return {named for named, reason in why.items() if reason is not None}


def _reason(kind: str, is_gone: bool) -> Reason | None:
    """Return why a report suppresses its reader, by what was kept of it: a forgiven one doesn't."""
    match kind:
        case "complaint":
            return "complaint"
        case "hard":
            return "hard bounce"
        case "soft" if is_gone:
            return "soft bounces"
    return None


async def _readers(database: Database, finder: Finder, reports: Sequence[Report]) -> list[str | None]:
    """Return the reader of the mail that each report answers, else of the address that it names."""
    named = [_named(report) for report in reports]
    mailed = {row["reader"] for row in await database.fetch(MAILED, sorted(filter(None, set(named))))}
    marks = [None if who in mailed else _mark(finder, report) for who, report in zip(named, reports, strict=True)]
    rows = await database.fetch(KNOWN, sorted(filter(None, set(marks))))
    known = {row["mark"]: row["person"] for row in rows}
    return [who if who in mailed else known.get(mark) for who, mark in zip(named, marks, strict=True)]


def _named(report: Report) -> str | None:
    found = _OURS.search(report.message_id or "")
    named = report.reader or (found and found[1])
    return named if named and is_id(named) else None


def _mark(finder: Finder, report: Report) -> bytes | None:
    if report.recipient is None:
        return None
    try:
        return finder.mark(read_address(_bare(report.recipient)))
    except AddressRefused:
        return None


def _bare(recipient: str) -> str:
    """Return the address in a recipient that may be written with a name and angle brackets."""
    return parseaddr(recipient)[1] if "<" in recipient else recipient
