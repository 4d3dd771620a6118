"""Settle doubted mails by the relay's own record: it knows what it took, also of a time that the ledger lacks.

What it took is accepted. The rest is sent again only if the record is shown to cover the whole time in which it may have been
sent: by a line at each mark, and by every mail that the ledger knows to be taken. Of issues that the ledger doesn't know, what
the relay took is marked, so that no issue of that time goes to the same readers.
"""

import re
import secrets
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from emails.relay_log import RelayLog
from services.newsletter import ledger
from services.newsletter.ledger import CHUNK, Database
from services.newsletter.sent_marks import (
    RELAY,
    SUFFIX,
    Marked,
    Place,
    append,
    line_of,
    owned_groups,
    place_of,
    read_group,
    read_place,
    stands_for,
)

OURS: Final = re.compile(r"issue-([0-9]{1,9})\.([A-Za-z0-9_-]{22})@.*")
LINE_WITHIN: Final = timedelta(minutes=1)
"""So soon after a mark the relay's log has a line: mails are marked a moment before they are handed over."""
CLOCKS: Final = timedelta(seconds=5)
"""So far the relay's clock may be behind."""
ON_ITS_WAY: Final = timedelta(minutes=15)
"""So long after its mark a mail may still be handed over."""
BY_RECORD: Final = "by the relay's record"
_KNOWN: Final = "select number from newsletter.issues where number = any($1::integer[])"
_ISSUE: Final = "select number, edition, due_at, extra, period_from from newsletter.issues where number = $1"
_ACCEPT: Final = """
with taken as (
    update newsletter.mails
    set state = 'accepted', code = 250, reason = $3, claim = null, lease_until = null, settled_at = now()
    where issue = $1 and reader = any($2::text[]) and state in ('uncertain', 'pending', 'deferred') returning 1
)
select count(*) from taken
"""
_ACCEPTED: Final = "select reader from newsletter.mails where issue = $1 and state = 'accepted'"
_DOUBTED: Final = "select count(*) from newsletter.mails where issue = $1 and state = 'uncertain'"


class MarksNowhere(Exception):
    """The record holds mails of issues that the ledger doesn't know, and there is no place to mark them; says what to do."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What a record settled: an issue's mails that were `accepted`, were `freed` to be sent again, or are still in `doubt`.

    `unknown` mails are of issues that the ledger doesn't know. `why` says why the rest stays in doubt, if it does.
    """

    accepted: int
    freed: int
    doubt: int
    unknown: int
    why: str | None = None


async def settle(database: Database, folder: Path | None, number: int, record: RelayLog, at: datetime) -> Settled:
    """Settle the mails of an issue by a relay's record, and mark those of issues that the ledger doesn't know.

    Raises MarksNowhere, MarksUnusable and OSError.
    """
    sent = _by_issue(record)
    known = {row["number"] for row in await database.fetch(_KNOWN, sorted({number, *sent}))}
    unknown = {issue: readers for issue, readers in sent.items() if issue not in known}
    mark(folder, unknown, at)
    marked = sum(map(len, unknown.values()))
    row = await database.fetchrow(_ISSUE, number)
    if row is None:
        return Settled(accepted=0, freed=0, doubt=0, unknown=marked)
    place = place_of(row)
    marks = list(read_place(folder, place, await owned_groups(database)))
    taken = _taken(folder, number, place, marks, sent)
    known_taken = {row["reader"] for row in await database.fetch(_ACCEPTED, number)}
    accepted = await database.fetchval(_ACCEPT, number, sorted(taken), BY_RECORD)
    doubt = await database.fetchval(_DOUBTED, number)
    why = _why_not(number, [one.at for one in marks], record, taken, len(known_taken - taken)) if doubt else None
    freed = await ledger.resolve(database, number, "resend") if doubt and why is None else 0
    return Settled(accepted=accepted, freed=freed, doubt=doubt - freed, unknown=marked, why=why)


def _taken(
    folder: Path | None,
    number: int,
    place: Place,
    marks: Sequence[Marked],
    sent: Mapping[int, Mapping[str, datetime | None]],
) -> set[str]:
    """Return the readers whose mail of an issue was taken: under its number, or one that its period had in the lost time."""
    assert place.begins is not None  # noqa: S101 - an issue has a period
    numbers = {number, *(one.issue for one in marks)}
    numbers |= {one.issue for one in read_group(folder, RELAY) if stands_for(one, place)}
    found = [(reader, at) for one in numbers for reader, at in sent.get(one, {}).items()]
    return {reader for reader, at in found if at is None or at >= place.begins}


def _by_issue(record: RelayLog) -> dict[int, dict[str, datetime | None]]:
    """Return the readers of each issue that a record names, and when their mails were taken."""
    found: dict[int, dict[str, datetime | None]] = {}
    for id_, at in record.taken.items():
        if ours := OURS.fullmatch(id_):
            found.setdefault(int(ours[1]), {})[ours[2]] = at
    return found


def mark(folder: Path | None, sent: Mapping[int, Mapping[str, datetime | None]], at: datetime) -> None:
    """Mark mails of issues that the ledger doesn't know; those without a time count as taken now."""
    if not sent:
        return
    if folder is None:
        raise MarksNowhere(
            f"The record names issue {min(sent)}, which the ledger lacks: set BALLOTPRESS_SENT_MARKS_DIR as for the workers"
        )
    file = folder / RELAY / f"{secrets.token_hex(8)}{SUFFIX}"
    for issue, readers in sent.items():
        marks = [Marked(issue, reader, "", 1, when or at) for reader, when in readers.items()]
        for start in range(0, len(marks), CHUNK):
            some = marks[start : start + CHUNK]
            append(file, line_of("relay", some, max(one.at for one in some)))


def _why_not(number: int, times: Sequence[datetime], record: RelayLog, taken: Set[str], lacking: int) -> str | None:
    """Return why nobody can tell from a record that the rest was never received; None if it tells.

    `taken` are the readers whose mails it names, `lacking` is the number of those that the ledger knows to be taken and it
    doesn't name.
    """
    word = f"`ballotpress digest resolve {number} --uncertain resend`"
    if record.begins is None or record.ends is None:
        return f"a list doesn't say whether it is whole; if it is: {word}"
    if not times:
        return f"no mark tells when sending ended; if the log is whole: {word}"
    if record.begins > min(times):
        return f"the log begins at {_said(record.begins)}, when sending had begun: give the older one too"
    if not taken:
        return f"the log names no mail of the issue: it may be another relay's; if it is the right one, and whole: {word}"
    if lacking:
        return f"the log lacks mails of the issue that were taken, {lacking} in number: give the relay's other files too"
    if (until := max(times) + ON_ITS_WAY) > record.ends:
        return (
            f"the log ends at {_said(record.ends)}, and mails may have been on their way until {_said(until)}:"
            " give one that goes on until then (`postfix reload` adds a line)"
        )
    if silent := _silent_at(times, record):
        return (
            f"the log has no line at {_said(silent)}, when mails were sent: give that time's file too; if it is whole: {word}"
        )
    return None


def _silent_at(times: Iterable[datetime], record: RelayLog) -> datetime | None:
    """Return the first of the times at which a log has no line; None if it has at all."""
    for at in sorted(set(times)):
        place = bisect_left(record.times, at - CLOCKS)
        if place == len(record.times) or record.times[place] > at + LINE_WITHIN:
            return at
    return None


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M %Z}"
