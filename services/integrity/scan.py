"""Scan the log for bought votes: judge each ten minutes once, in order, and keep the cohorts that are found.

Several scans at once do the work once, and one that was killed is done again: what a scan finds is written in one transaction
with how far it came. What is found depends on the log alone, and on the marks of networks.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

import msgspec
from asyncpg import Connection

from events.log import postgres
from projections.registry import named
from projections.tally import Tally
from services.integrity import cohorts, decisions, detector
from services.integrity.cohorts import Cohort
from services.integrity.detector import Find, Merged
from services.integrity.detector_counts import CHOICES, DAY, Screen, Screened
from services.integrity.detector_evidence import Pool, Weight, weigh
from services.integrity.effect import effect, places_of, without
from services.integrity.reading import (
    Marks,
    Read,
    read,
    read_earlier,
    read_pool,
    read_tallies,
    read_votes,
    tick_of,
    time_of,
    unmarked,
)

logger = logging.getLogger(__name__)

LOOKS_BACK: Final = 7 * DAY
"""Ticks; a first scan, or one after a long rest, begins so far back."""
AT_ONCE: Final = DAY // 4
"""Ticks that are judged in one transaction."""
LATE: Final = timedelta(minutes=10)
"""A voter has so long to vote for something else too, before its vote is judged."""
FINDS_KEPT: Final = timedelta(days=8)
"""No cell reaches further back than a week."""

_LOCK: Final = 0x696E746567  # any constant: the one that scans holds it
_TAKE: Final = "select pg_try_advisory_lock($1)"
_LEAVE: Final = "select pg_advisory_unlock($1)"

# How far the log is known: to now, or to the last event that the view has taken in, if it lags.
_SEEN: Final = named("""
select s.scanned_to, (select min(at) from {integrity}.ticks) as first, (select max(at) from {integrity}.ticks) as last,
       case when c.position >= h.position then now() else c.seen_at end as seen
from integrity.scans s cross join {integrity}.checkpoint c cross join log.head h
""")
_MOVE: Final = """
update integrity.scans set scanned_to = $1, scanned_at = now(), failed = null where scanned_to is not distinct from $2
"""
_REST: Final = "update integrity.scans set scanned_at = now(), failed = null"
_FAILED: Final = "update integrity.scans set failed = $1"
_POSITION: Final = "select log.position_at($1)"
_FINDS: Final = """
select id, tool, choice, span, begins, ends, seen, votes, scores, p from integrity.finds where ends > $1
"""
_KEEP_FIND: Final = """
insert into integrity.finds (id, tool, choice, span, begins, ends, votes, scores, p, seen)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (id) do update
set span = excluded.span, begins = excluded.begins, ends = excluded.ends, votes = excluded.votes, scores = excluded.scores,
    p = excluded.p
"""
_FORGET_FINDS: Final = "delete from integrity.finds where id = any($1::text[]) or ends <= $2"

Alarm = Callable[["Connection[Any]", str], Awaitable[None]]
"""Is called, in the scan's transaction, with each cohort that has reached the queue or grown there."""

_scores = msgspec.json.Decoder(dict[str, float])


class Scanned(msgspec.Struct, frozen=True):
    """What a scan did: until when the log is judged now, and how many cohorts were found or have changed."""

    until: datetime | None
    changed: int


async def silent(connection: "Connection[Any]", cohort: str) -> None:
    """Do nothing about a cohort but queue it."""


async def scan(
    dsn: str, false_alarms: float, marks: Marks = unmarked, *, alarm: Alarm = silent, seconds: float = 240.0
) -> Scanned | None:
    """Judge what has come since the last scan, for about `seconds` at most; None if another scan is at work.

    A failure is kept for the status, and raised.
    """
    connection = await decisions.connect(dsn)
    try:
        if not await connection.fetchval(_TAKE, _LOCK):
            return None
        try:
            return await _scan(connection, false_alarms, marks, alarm, monotonic() + seconds)
        except Exception as error:
            await _say_failed(connection, error)
            raise
        finally:
            await connection.fetchval(_LEAVE, _LOCK)
    finally:
        await connection.close(timeout=5)


async def _say_failed(connection: "Connection[Any]", error: Exception) -> None:
    with suppress(*postgres.FAILED):
        await connection.execute(_FAILED, f"{type(error).__name__}: {error}")


async def _scan(connection: "Connection[Any]", false_alarms: float, marks: Marks, alarm: Alarm, deadline: float) -> Scanned:
    changed = 0
    while True:
        scanned_to, begin, end = await _due(connection)
        if begin >= end or monotonic() > deadline:
            await connection.execute(_REST)
            return Scanned(scanned_to, changed)
        end = min(end, begin + AT_ONCE)
        merged = Merged(await _read_finds(connection, begin))
        await _judge(connection, merged, begin, end, false_alarms, marks)
        changed += await _write(connection, merged, scanned_to, end, alarm)


async def _due(connection: "Connection[Any]") -> tuple[datetime | None, int, int]:
    """Return how far the log was scanned, and the ticks that are due: from, and before."""
    row = await connection.fetchrow(_SEEN)
    assert row is not None  # noqa: S101 - these tables have one row each
    if row["first"] is None or row["seen"] is None:
        return row["scanned_to"], 0, 0
    end = min(tick_of(row["seen"] - LATE), tick_of(row["last"]) + 1)
    begin = tick_of(row["first"] if row["scanned_to"] is None else row["scanned_to"])
    return row["scanned_to"], max(begin, end - LOOKS_BACK), end


async def _read_finds(connection: "Connection[Any]", begin: int) -> dict[str, Find]:
    rows = await connection.fetch(_FINDS, time_of(begin) - FINDS_KEPT)
    return {
        row["id"]: Find(
            id=row["id"], tool=row["tool"], choice=row["choice"], span=row["span"], begin=tick_of(row["begins"]),
            end=tick_of(row["ends"]), seen=tick_of(row["seen"]), votes=row["votes"], p=row["p"],
            scores=_scores.decode(row["scores"]),
        )
        for row in rows
    }  # fmt: skip


async def _judge(
    connection: "Connection[Any]", merged: Merged, begin: int, end: int, false_alarms: float, marks: Marks
) -> None:
    """Judge the ticks from `begin` to before `end`, each by itself and in order."""
    seen = await read(connection, begin, end)
    if not seen.tools:
        return
    tests, screened = await asyncio.to_thread(_screen, seen, begin, end)
    by_end: dict[int, list[int]] = defaultdict(list)
    for row, at in enumerate(screened.end):
        by_end[int(at)].append(row)
    pools: dict[int, Pool] = {}
    for at in sorted(by_end):
        if at // 6 not in pools:
            pools[at // 6] = await read_pool(connection, at // 6, marks)
        weights = [await _weight(connection, seen, screened, row, pools[at // 6], marks) for row in by_end[at]]
        rows = detector.found(weights, int(tests[at - 1 - begin]), false_alarms)
        found = [(by_end[at][n], weights[n]) for n in rows]
        detector.merge(merged, [detector.find_of(screened, n, seen.tools[screened.tool[n]], weight) for n, weight in found])


def _screen(seen: Read, begin: int, end: int) -> "tuple[Any, Screened]":
    screen = Screen(seen.counts, seen.site, seen.days, begin, end)
    return screen.tests(), screen.screened(seen.explained)


async def _weight(connection: "Connection[Any]", seen: Read, screened: Screened, row: int, pool: Pool, marks: Marks) -> Weight:
    """Read the voters of a screened cell, and weigh it."""
    tool, choice = seen.tools[screened.tool[row]], CHOICES[screened.choice[row]]
    begin, end = int(screened.begin[row]), int(screened.end[row])
    votes = await read_votes(connection, tool, choice, begin, end, marks)
    usually = await read_earlier(connection, tool, begin) if votes.is_shared else {}
    return await asyncio.to_thread(weigh, detector.cell_of(screened, row, tool), votes, pool, usually)


async def _write(connection: "Connection[Any]", merged: Merged, scanned_to: datetime | None, end: int, alarm: Alarm) -> int:
    """Write what changed and how far the log is judged, unless another scan has; return the number of changed cohorts."""
    position = await connection.fetchval(_POSITION, time_of(end) + LATE)
    tallies = await read_tallies(connection, position) if merged.cohorts else {}
    async with connection.transaction():
        if await connection.execute(_MOVE, time_of(end), scanned_to) != "UPDATE 1":
            return 0
        for id_ in sorted(merged.changed):
            await _keep_find(connection, merged.cohorts[id_])
        await connection.execute(_FORGET_FINDS, sorted(merged.absorbed), time_of(end) - FINDS_KEPT)
        await cohorts.forget(connection, sorted(merged.absorbed))
        for find in merged.cohorts.values():
            if await _keep_cohort(connection, find, tallies, position) and find.id in merged.changed:
                await alarm(connection, find.id)
    return len(merged.changed)


async def _keep_find(connection: "Connection[Any]", find: Find) -> None:
    scores = msgspec.json.encode(find.scores).decode()
    span = (find.span, time_of(find.begin), time_of(find.end))
    await connection.execute(_KEEP_FIND, find.id, find.tool, find.choice, *span, find.votes, scores, find.p, time_of(find.seen))


async def _keep_cohort(connection: "Connection[Any]", find: Find, tallies: Mapping[str, Tally], position: int) -> bool:
    """Keep a find as a cohort if its removal would change something now; return whether it does.

    What was taken back already stays as it was.
    """
    span = time_of(find.begin), time_of(find.end)
    votes, before = await cohorts.standing(connection, find.tool, find.choice, *span, position), tallies.get(find.tool)
    if votes is None or before is None or not votes.voters:
        return False
    after = without(before, find.choice, len(votes.voters))
    changes = effect(before, after, places_of(tallies.values()))
    if changes is None:
        return False
    cohort = Cohort(
        id=find.id, tool=find.tool, choice=find.choice, span=find.span, begins=span[0], ends=span[1], votes=find.votes,
        first_position=votes.first, last_position=votes.last, scores=find.scores, p=find.p, before=before, after=after,
        effect=changes.value, unsettles=changes.unsettles, revision=1, evaluated_position=position, found_at=time_of(find.seen),
    )  # fmt: skip
    await cohorts.keep(connection, cohort)
    return True
