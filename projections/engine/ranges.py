"""Fold ranges of the log side by side into tables of parts, and merge those into a view's tables: how a long log is begun.

A range and its mark are committed together, so a fold that was cut short goes on with the ranges that are missing. The tables
themselves change in one transaction, which merges all ranges, moves the checkpoint behind them and drops the parts.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import asyncpg
from asyncpg import Connection

from events.log.archive.present import Reader
from events.log.tasks import end
from projections.engine import window
from projections.engine.folding import Progress, Work, places
from projections.engine.projection import LOCK_CLASS, TAKE, connect_patiently, drop, work_in
from projections.engine.runner import TRANSIENT

logger = logging.getLogger(__name__)

FEWEST = 2
"""Ranges below which a log is folded window by window."""

# Unlogged, as the parts are: after a crash of the server both are empty. The mark of a range is its last event's. `target` is
# where the ranges ended that it was one of, which it knows: a live view that was made anew meanwhile may be short of that.
MAKE = """
create unlogged table ranges (
    low bigint not null, high bigint not null, target bigint not null, dropped bigint[] not null,
    seen_at timestamptz, seen_stream uuid
);
"""
HAS = "select to_regclass('ranges') is not null"
DONE = "select low from ranges order by low"
FIT = """
select coalesce(bool_and(r.low % $1 = 0 and r.high = r.low + $1 and r.target <= $3 and r.dropped = $2
                         and (r.seen_at is null or log.holds(r.high, r.seen_at, r.seen_stream))), true)
from ranges r
"""
MARK = """
insert into ranges (low, high, target, dropped, seen_at, seen_stream)
select $1, $2, $4, $3, e.recorded_at, e.stream from (select $2::bigint as high) w left join log.events e on e.position = w.high
"""
OURS = """
select format('%I.%I', n.nspname, c.relname) as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (c.relname like 'part\\_%' or c.relname = 'ranges')
  and c.relnamespace = (select k.relnamespace from pg_class k where k.oid = to_regclass('ranges'))
"""

# Parts that a killed `verify` left: whoever made them held a lock on their schema's name as long as it lived.
LEFT = "select nspname from pg_namespace where nspname ~ '_parts_[0-9]+$'"
LET_GO = "select pg_advisory_unlock($1, hashtext($2))"


async def side_by_side(*works: Awaitable[Any]) -> list[Any]:
    """Return what these come to, in their order; the first that fails ends all others and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(*tasks)


class Ranges:
    """The ranges of one view, as whole windows below its live position. Parts stand in `schema`."""

    def __init__(self, work: Work, schema: str, size: int, target: int) -> None:
        self._work = work
        self._projection = work.projection
        self._schema = schema
        self._size = size
        self._target = target
        self._done = 0

    async def fold(self, connection: "Connection[Any]") -> bool:
        """Fold every range, and merge them into the connection's tables; return False, and leave no part, if an event fails.

        Which event that is, windows find.
        """
        try:
            while not await self._fold(connection):  # an operator dropped an event meanwhile
                pass
        except TRANSIENT:
            raise
        except (asyncpg.PostgresError, window.HoleInLog, window.EventTypeUnknown) as error:
            logger.warning("the ranges of %s are given up for windows: %s", self._projection.name, error)
            await forget(connection)
            return False
        return True

    async def _fold(self, connection: "Connection[Any]") -> bool:
        dropped = await window.dropped_positions(connection, self._projection)
        await self._prepare(connection, dropped)
        done = {row["low"] for row in await connection.fetch(DONE)}
        left = deque(low for low in range(0, self._target, self._size) if low not in done)
        self._done = len(done)
        began, before = monotonic(), len(done)

        def report() -> None:
            self._done += 1
            rate = (self._done - before) * self._size / max(monotonic() - began, 1e-6)
            self._work.report(Progress(self._projection.name, self._done * self._size, self._target, rate))

        crew = min(self._work.jobs.number, len(left))
        await side_by_side(*(self._lend_a_hand(left, dropped, report) for _ in range(crew)))
        async with self._work.jobs.room:
            return await self._merge(connection, dropped)

    async def _prepare(self, connection: "Connection[Any]", dropped: Sequence[int]) -> None:
        """Make the tables of parts; keep those of a fold that was cut short if they are of this log, cut as now."""
        if await connection.fetchval(HAS):
            if await connection.fetchval(FIT, self._size, dropped, self._target):
                return
            await forget(connection)
        maker = await connect_patiently(self._work.dsn, self._schema)
        try:
            async with maker.transaction():
                await maker.execute(MAKE + self._projection.part_tables)
        finally:
            await maker.close()

    async def _lend_a_hand(self, left: deque[int], dropped: Sequence[int], report: Any) -> None:
        """Fold ranges once a hand is free: until then other views have all. Nobody keeps one while it waits for the archive."""
        async with self._work.reading() as reader:
            while left:
                await reader.ensure(left[0], left[0] + self._size)
                async with self._work.jobs.hands:
                    if left:
                        await self._take(reader, left, dropped, report)

    async def _take(self, reader: Reader, left: deque[int], dropped: Sequence[int], report: Any) -> None:
        """Fold ranges, as long as there are any at hand, on a connection of its own."""
        connection = await connect_patiently(self._work.dsn, self._schema)
        try:
            while left and await reader.has(low := left[0], low + self._size):
                if not left or left[0] != low:  # another hand took it
                    continue
                left.popleft()
                async with self._work.jobs.room:
                    began = monotonic()
                    await self._range(connection, low, dropped)
                    report()
                    await asyncio.sleep(self._work.pace.rest(monotonic() - began))
        finally:
            await connection.close()

    async def _range(self, connection: "Connection[Any]", low: int, dropped: Sequence[int]) -> None:
        high = low + self._size
        async with connection.transaction():
            present = await window.types(connection, self._work.registry, low, high, dropped)
            for part in self._projection.parts:
                if part.concerns(present):
                    await _execute(connection, part.sql, (*self._projection.window(low, high, dropped), self._target))
            await connection.execute(MARK, low, high, dropped, self._target)

    async def _merge(self, connection: "Connection[Any]", dropped: Sequence[int]) -> bool:
        """Make the tables of all parts, in one transaction; return whether they pass over what is dropped now."""
        async with connection.transaction():
            if await window.dropped_positions(connection, self._projection) != dropped:
                return False
            for row in await connection.fetch(OURS):
                await connection.execute(f"analyze {row['name']}")
            for statement in self._projection.merging:
                await _execute(connection, statement, self._projection.window(0, self._target, dropped))
            await window.move(connection, self._projection, 0, self._target)
            await forget(connection)
        return True


async def _execute(connection: "Connection[Any]", statement: str, arguments: Sequence[Any]) -> None:
    """Run a statement with as many of the arguments as it names."""
    prepared = await connection.prepare(statement)
    await prepared.fetch(*arguments[: len(prepared.get_parameters())])


async def forget(connection: "Connection[Any]") -> None:
    """Drop the tables of parts that the connection sees."""
    names = [row["name"] for row in await connection.fetch(OURS)]
    if names:
        await connection.execute(f"drop table {', '.join(names)}")


async def begin(connection: "Connection[Any]", work: Work, schema: str) -> None:
    """Fold the connection's tables, empty yet, up to a multiple of the window near the live position, if that is far and they
    have parts, which stand in `schema`."""
    if (ranges := await _needed(connection, work, schema)) is not None:
        await ranges.fold(connection)
    else:
        await forget(connection)  # those of a replay that was cut short when the live view was further than it is


async def _needed(connection: "Connection[Any]", work: Work, schema: str) -> Ranges | None:
    position, target = await places(connection, work.projection)
    size = work.pace.window
    if position > 0 or not work.projection.parts or target < FEWEST * size:
        return None
    return Ranges(work, schema, size, target - target % size)


async def begin_temporary(connection: "Connection[Any]", work: Work) -> None:
    """Do as `begin` does for temporary tables, with parts in a schema that is gone at the end."""
    await sweep(connection)
    schema = f"{work.projection.schema}_parts_{connection.get_server_pid()}"
    if (ranges := await _needed(connection, work, schema)) is None:
        return
    async with _scratch(connection, schema):
        await ranges.fold(connection)


@asynccontextmanager
async def _scratch(connection: "Connection[Any]", schema: str) -> AsyncIterator[None]:
    """Make a schema that the connection sees after its own temporary tables, and drop it in the end."""
    await connection.fetchval(TAKE, LOCK_CLASS, schema)
    await connection.execute(f"create schema {schema}")
    await work_in(connection, f"pg_temp, {schema}")
    try:
        yield
    finally:
        if not connection.is_closed():
            await work_in(connection, "pg_temp")
            await drop(connection, schema)


async def sweep(connection: "Connection[Any]") -> None:
    """Drop the parts that killed comparisons left."""
    for row in await connection.fetch(LEFT):
        if await connection.fetchval(TAKE, LOCK_CLASS, row["nspname"]):
            await drop(connection, row["nspname"])
            await connection.execute(LET_GO, LOCK_CLASS, row["nspname"])
