"""Build a view anew beside the live one, show what that would change, and only then switch.

The live tables are touched by the switch alone: one transaction that locks the live checkpoint, folds the last window and
renames. A killed rebuild resumes at its own checkpoint, if the same statements made it. One rebuild of a view at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import asyncpg
import msgspec
from asyncpg import Connection

from events.log import postgres
from events.log.event import Registry
from projections.engine import diff
from projections.engine.projection import Projection, work_in
from projections.engine.runner import advance
from projections.engine.schemas import (
    EXISTS,
    drop,
    durably,
    gone_schema,
    holding_live,
    inherit,
    live_position,
    lock_live,
    next_schema,
    open_on,
    previous_schema,
    rename,
)

T = TypeVar("T")

# A window touches each row once, so large ones cost less an event. Votes and reads share the server with a rebuild: it takes
# one core, and rests for as long as it worked (see `make bench` for what they feel).
WINDOW = 250_000
PAUSE_SECONDS = 0.2
# Below this many events the rest is folded inside the switch.
NEARLY = 2_000
# How often the live checkpoint's lock, 2 s each time, is tried: a large window of the projector's may hold it.
TRIES = 5


class NothingKept(Exception):
    """No earlier tables of this view and version were kept."""


class Progress(msgspec.Struct, frozen=True):
    """How far a fold is: the position reached, the one to reach, and the rate of this run in events a second."""

    projection: str
    position: int
    target: int
    rate: float


Report = Callable[[Progress], None]


class Pace(msgspec.Struct, frozen=True):
    """How a fold goes: events in a window, the least seconds of rest between two, and how few events are left to the end."""

    pause: float = PAUSE_SECONDS
    window: int = WINDOW
    nearly: int = NEARLY

    def rest(self, worked: float) -> float:
        """Give the seconds to rest after a window: as long as it took, and `pause` at least; with no pause, none."""
        return max(self.pause, worked) if self.pause else 0.0


class Folding:
    """Folds the log into tables on a connection, window by window, towards the live view's position."""

    def __init__(
        self, connection: "Connection[Any]", projection: Projection, registry: Registry, pace: Pace, report: Report
    ) -> None:
        self._connection = connection
        self._projection = projection
        self._registry = registry
        self._pace = pace
        self._report = report
        self._began = monotonic()
        self._taken = 0

    async def nearly(self) -> None:
        """Fold until few events are left. Halted where one fails."""
        while True:
            start, target = await self.places()
            if target - start <= self._pace.nearly:
                return
            began = monotonic()
            advanced = await advance(self._connection, self._projection, self._registry, self._pace.window, target)
            if advanced.end is not None and advanced.start is not None:
                self._taken += advanced.end - advanced.start
                rate = self._taken / max(monotonic() - self._began, 1e-6)
                self._report(Progress(self._projection.name, advanced.end, target, rate))
            await asyncio.sleep(self._pace.rest(monotonic() - began))

    async def rest(self) -> int:
        """Fold to where the live view is held; give that position."""
        start, target = await self.places()
        while start < target:
            advanced = await advance(self._connection, self._projection, self._registry, self._pace.window, target)
            start = advanced.end or start
        return start

    async def places(self) -> tuple[int, int]:
        """Give the position of the tables and the one to reach: the live view's, if the log goes that far."""
        position: int = await self._connection.fetchval("select position from checkpoint")
        head: int = await self._connection.fetchval("select position from log.head")
        return position, min(await live_position(self._connection, self._projection), head)


class Rebuild:
    """One rebuild of one view; whoever runs it holds `schemas.only_one`."""

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        registry: Registry,
        *,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        report: Report = lambda _: None,
    ) -> None:
        self.projection = projection
        self._dsn = dsn
        self._registry = registry
        self._pace = pace
        self._report = report

    async def prepare(self) -> bool:
        """Make the tables beside the live ones, or find those of a rebuild that was cut short; tell whether it resumes."""
        schema = next_schema(self.projection)
        connection = await open_on(self._dsn, schema)
        try:
            await drop(connection, gone_schema(self.projection))
            if await connection.fetchval(EXISTS, schema):
                if await connection.fetchval("select made_by from checkpoint") == self.projection.digest:
                    return True
                await drop(connection, schema)
            async with connection.transaction():
                await self.projection.create(connection, schema)
            return False
        finally:
            await connection.close()

    async def catch_up(self) -> None:
        """Fold windows until the rebuilt view is nearly where the live one stands. Halted where an event fails."""
        connection = await open_on(self._dsn, next_schema(self.projection))
        try:
            await self._folding(connection).nearly()
        finally:
            await connection.close()

    async def compare(self) -> diff.Diff:
        """Bring both views to one position and compare them there, by key, in one snapshot; the live one goes on meanwhile."""
        connection = await open_on(self._dsn, next_schema(self.projection))
        try:
            return await compared(
                self._dsn, connection, self._folding(connection), self.projection, next_schema(self.projection)
            )
        finally:
            await connection.close()

    async def switch(self, *, keep_previous: bool) -> float:
        """Put the rebuilt tables in the place of the live ones, at the live one's position; keep those or drop them.

        Gives for how many seconds the live view was held.
        """
        connection = await open_on(self._dsn, next_schema(self.projection))
        try:
            held = await _patiently(lambda: self._switch(connection))
            await drop(connection, gone_schema(self.projection))
            if not keep_previous:
                await drop(connection, previous_schema(self.projection))
            return held
        finally:
            await connection.close()

    async def abandon(self) -> None:
        """Drop what was built beside the live view."""
        connection = await postgres.connect(self._dsn, "replay")
        try:
            await drop(connection, next_schema(self.projection))
        finally:
            await connection.close()

    async def _switch(self, connection: "Connection[Any]") -> float:
        async with connection.transaction():
            await durably(connection)
            await lock_live(connection, self.projection)
            began = monotonic()
            await self._folding(connection).rest()
            await inherit(connection, self.projection)
            if await connection.fetchval(EXISTS, previous_schema(self.projection)):
                await rename(connection, previous_schema(self.projection), gone_schema(self.projection))
            await rename(connection, self.projection.schema, previous_schema(self.projection))
            await rename(connection, next_schema(self.projection), self.projection.schema)
        return monotonic() - began

    def _folding(self, connection: "Connection[Any]") -> Folding:
        return Folding(connection, self.projection, self._registry, self._pace, self._report)


async def compared(dsn: str, connection: "Connection[Any]", folding: Folding, projection: Projection, schema: str) -> diff.Diff:
    """Fold what is left while the live view is held, and compare it in a snapshot taken then; the live one goes on."""
    await connection.execute(_ANALYZE)
    async with holding_live(dsn, projection):
        position = await folding.rest()
        live = await live_position(connection, projection)
        snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
        await snapshot.start()
        await connection.fetchval("select position from checkpoint")  # takes the snapshot
    try:
        return await diff.differences(connection, projection.schema, schema, position, live)
    finally:
        await snapshot.rollback()


# So that the comparison, and the first reads after a switch, are planned with statistics.
_ANALYZE = """
do $$
declare
    t regclass;
begin
    for t in
        select c.oid from pg_class c join pg_class k on k.relnamespace = c.relnamespace
        where k.oid = 'checkpoint'::regclass and c.relkind = 'r'
    loop
        execute format('analyze %s', t);
    end loop;
end $$
"""


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(TRIES - 1):
        with suppress(asyncpg.LockNotAvailableError):
            return await work()
    return await work()


async def roll_back(dsn: str, projection: Projection, registry: Registry, report: Report = lambda _: None) -> int:
    """Put the kept tables back, caught up first; those that were live are kept in their place. NothingKept.

    Gives the position they stand at.
    """
    kept = previous_schema(projection)
    connection = await open_on(dsn, kept)
    try:
        if not await connection.fetchval(EXISTS, kept):
            raise NothingKept(projection.name)
        folding = Folding(connection, projection, registry, Pace(pause=0), report)
        await folding.nearly()
        return await _patiently(lambda: _swap(connection, projection, folding))
    finally:
        await connection.close()


async def _swap(connection: "Connection[Any]", projection: Projection, folding: Folding) -> int:
    aside = f"{projection.schema}_swap"
    kept = previous_schema(projection)
    async with connection.transaction():
        await durably(connection)
        await lock_live(connection, projection)
        position = await folding.rest()
        await rename(connection, projection.schema, aside)
        await rename(connection, kept, projection.schema)
        await rename(connection, aside, kept)
    await work_in(connection, projection.schema)
    return position
