"""Judge the ticks that a scan names: find bought votes among them, and keep the cohorts. It loads what counts with arrays."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from asyncpg import Connection

from projections.tally import Tally
from services.integrity import cohorts, detector
from services.integrity.cohorts import Cohort
from services.integrity.detector import Find, Merged
from services.integrity.detector_counts import CHOICES, Screen, Screened
from services.integrity.detector_evidence import Pool, Weight, weigh
from services.integrity.effect import effect, places_of, without
from services.integrity.marks import MarksOf
from services.integrity.reading import Known, Read, read, read_earlier, read_pool, read_tallies, read_votes
from services.integrity.ticks import LATE, tick_of, time_of

FINDS_KEPT: Final = timedelta(days=8)
"""No cell reaches further back than a week."""

_MOVE: Final = """
update integrity.scans set scanned_to = $1, scanned_at = now(), failed = null where scanned_to is not distinct from $2
"""
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


async def judge(
    connection: "Connection[Any]",
    scanned_to: datetime | None,
    begin: int,
    end: int,
    false_alarms: float,
    marks: MarksOf,
    alarm: Alarm,
) -> int:
    """Judge the ticks from `begin` to before `end`, and keep in one transaction what came of it, and that the log is judged.

    Return how many cohorts were found or have changed.
    """
    merged = Merged(await _read_finds(connection, begin))
    await _find(connection, merged, begin, end, false_alarms, marks)
    return await _write(connection, merged, scanned_to, end, alarm)


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


async def _find(
    connection: "Connection[Any]", merged: Merged, begin: int, end: int, false_alarms: float, marks: MarksOf
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
    known: Known = {}
    for at in sorted(by_end):
        if at // 6 not in pools:
            pools[at // 6] = await read_pool(connection, at // 6, marks, known)
        weights = [await _weight(connection, seen, screened, row, pools[at // 6], marks, known) for row in by_end[at]]
        rows = detector.found(weights, int(tests[at - 1 - begin]), false_alarms)
        found = [(by_end[at][n], weights[n]) for n in rows]
        detector.merge(merged, [detector.find_of(screened, n, seen.tools[screened.tool[n]], weight) for n, weight in found])


def _screen(seen: Read, begin: int, end: int) -> "tuple[Any, Screened]":
    screen = Screen(seen.counts, seen.site, seen.days, begin, end)
    return screen.tests(), screen.screened(seen.explained)


async def _weight(
    connection: "Connection[Any]", seen: Read, screened: Screened, row: int, pool: Pool, marks: MarksOf, known: Known
) -> Weight:
    """Read the voters of a screened cell, and weigh it."""
    tool, choice = seen.tools[screened.tool[row]], CHOICES[screened.choice[row]]
    begin, end = int(screened.begin[row]), int(screened.end[row])
    votes = await read_votes(connection, tool, choice, begin, end, marks, known)
    usually = await read_earlier(connection, tool, begin, known) if votes.is_shared else {}
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
