"""Build a view anew beside the live one, show what that would change, and only then switch.

The live tables are touched by the switch alone: one transaction that locks the live checkpoint, folds the last window and
renames. A killed rebuild resumes at its own checkpoint, if the same statements made it. One rebuild of a view at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from asyncpg import Connection

from events.event import Registry
from projections import diff, window
from projections.projection import Projection, connect, work_in

# Votes and reads share the server with a rebuild: windows this small, this far apart, are hardly felt (see `make bench`).
WINDOW = 20_000
PAUSE_SECONDS = 0.05
# Below this many events the rest is folded inside the switch.
NEARLY = 2_000

_LOCK_CLASS = 0x6270  # advisory locks of ours; the second key is a hash of the view's name

EXISTS = "select to_regnamespace($1) is not null"


class RebuildRunning(Exception):
    """Another rebuild of this view is at work."""


class NothingKept(Exception):
    """No earlier tables of this view and version were kept."""


class Progress(msgspec.Struct, frozen=True):
    """How far a rebuild is: the position reached, the one to reach, and how many events this run has taken."""

    projection: str
    position: int
    target: int
    taken: int


Report = Callable[[Progress], None]


def next_schema(projection: Projection) -> str:
    """Name the schema that a rebuild is made in."""
    return f"{projection.schema}_next"


def previous_schema(projection: Projection) -> str:
    """Name the schema of the tables kept from before."""
    return f"{projection.schema}_prev"


@asynccontextmanager
async def only_one(dsn: str, projection: Projection) -> "AsyncIterator[None]":
    """Hold the one place of a rebuild of this view; RebuildRunning when it is taken."""
    connection = await asyncpg.connect(dsn, timeout=5)
    try:
        taken = "select pg_try_advisory_lock($1, hashtext($2))"
        if not await connection.fetchval(taken, _LOCK_CLASS, projection.schema):
            raise RebuildRunning(projection.name)
        yield
    finally:
        await connection.close()


class Rebuild:
    """One rebuild of one view."""

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        registry: Registry,
        *,
        pause: float = PAUSE_SECONDS,
        report: Report = lambda _: None,
    ) -> None:
        self.projection = projection
        self._dsn = dsn
        self._registry = registry
        self._pause = pause
        self._report = report
        self._taken = 0

    async def prepare(self) -> bool:
        """Make the tables beside the live ones, or find those of a rebuild that was cut short; tell whether it resumes."""
        schema = next_schema(self.projection)
        connection = await asyncpg.connect(self._dsn, timeout=5)
        try:
            if await connection.fetchval(EXISTS, schema):
                await work_in(connection, schema)
                if await connection.fetchval("select made_by from checkpoint") == self.projection.digest:
                    return True
                await drop(connection, schema)
            async with connection.transaction():
                await self.projection.create(connection, schema)
            return False
        finally:
            await connection.close()

    async def catch_up(self) -> None:
        """Fold windows until the rebuilt view is nearly where the live one stands."""
        connection = await connect(self._dsn, next_schema(self.projection))
        try:
            while True:
                start, target = await self._places(connection)
                if target - start <= NEARLY:
                    return
                await self._fold(connection, start, min(target, start + WINDOW))
                self._report(Progress(self.projection.name, min(target, start + WINDOW), target, self._taken))
                await asyncio.sleep(self._pause)
        finally:
            await connection.close()

    async def _places(self, connection: "Connection[Any]") -> tuple[int, int]:
        """Give the rebuilt view's position and the one to reach: the live view's, if the log goes that far."""
        position: int = await connection.fetchval("select position from checkpoint")
        head: int = await connection.fetchval("select position from log.head")
        live = await live_position(connection, self.projection)
        return position, min(live, head)

    async def _fold(self, connection: "Connection[Any]", start: int, end: int) -> None:
        if end > start:
            async with connection.transaction():
                dropped = await window.dropped_positions(connection, self.projection)
                await window.apply(connection, self.projection, self._registry, start, end, dropped)
            self._taken += end - start

    async def compare(self) -> diff.Diff:
        """Bring both views to one position and compare them there, by key, in one snapshot; the live one goes on meanwhile."""
        async with holding_live(self._dsn, self.projection):
            connection = await connect(self._dsn, next_schema(self.projection))
            try:
                start, target = await self._places(connection)
                await self._fold(connection, start, target)
                snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
                await snapshot.start()
                position = await connection.fetchval("select position from checkpoint")  # takes the snapshot
            except BaseException:
                await connection.close()
                raise
        try:
            return await diff.differences(connection, self.projection.schema, next_schema(self.projection), position)
        finally:
            await connection.close()

    async def switch(self, *, keep_previous: bool) -> None:
        """Put the rebuilt tables in the place of the live ones, at the live one's position; keep those or drop them."""
        connection = await connect(self._dsn, next_schema(self.projection))
        try:
            async with connection.transaction():
                await lock_live(connection, self.projection)
                start, target = await self._places(connection)
                if target > start:
                    dropped = await window.dropped_positions(connection, self.projection)
                    await window.apply(connection, self.projection, self._registry, start, target, dropped)
                await connection.execute("update checkpoint set caught_up = true")
                await drop(connection, previous_schema(self.projection))
                await rename(connection, self.projection.schema, previous_schema(self.projection))
                await rename(connection, next_schema(self.projection), self.projection.schema)
            if not keep_previous:
                await drop(connection, previous_schema(self.projection))
        finally:
            await connection.close()


async def roll_back(dsn: str, projection: Projection, registry: Registry) -> None:
    """Put the kept tables back, caught up first; those that were live are kept in their place. NothingKept."""
    kept = previous_schema(projection)
    connection = await connect(dsn, kept)
    try:
        if not await connection.fetchval(EXISTS, kept):
            raise NothingKept(projection.name)
        rest = NEARLY + 1
        while rest > NEARLY:
            async with connection.transaction():
                rest = await _follow_live(connection, projection, registry, WINDOW)
        async with connection.transaction():
            await lock_live(connection, projection)
            await _follow_live(connection, projection, registry, rest + WINDOW)
            aside = f"{projection.schema}_swap"
            await rename(connection, projection.schema, aside)
            await rename(connection, kept, projection.schema)
            await rename(connection, aside, kept)
    finally:
        await connection.close()


async def _follow_live(connection: "Connection[Any]", projection: Projection, registry: Registry, most: int) -> int:
    """Take one window towards the live view's position; give how many events are left to it."""
    start: int = await connection.fetchval("select position from checkpoint for update")
    head: int = await connection.fetchval("select position from log.head")
    target = min(await live_position(connection, projection), head)
    end = min(target, start + most)
    if end > start:
        dropped = await window.dropped_positions(connection, projection)
        await window.apply(connection, projection, registry, start, end, dropped)
    return max(0, target - end)


async def live_position(connection: "Connection[Any]", projection: Projection) -> int:
    """Give the live view's checkpoint."""
    statement = await _formatted(connection, "select position from %I.checkpoint", projection.schema)
    position: int = await connection.fetchval(statement)
    return position


async def lock_live(connection: "Connection[Any]", projection: Projection) -> None:
    """Keep the live view where it is until the transaction ends; its readers aren't held up."""
    await connection.execute(await _formatted(connection, "select from %I.checkpoint for update", projection.schema))


@asynccontextmanager
async def holding_live(dsn: str, projection: Projection) -> AsyncIterator[None]:
    """Keep the live view where it is for a moment, on a connection of its own."""
    connection = await connect(dsn, projection.schema)
    try:
        async with connection.transaction():
            await lock_live(connection, projection)
            yield
    finally:
        await connection.close()


async def rename(connection: "Connection[Any]", schema: str, name: str) -> None:
    """Rename a schema."""
    await connection.execute(await _formatted(connection, "alter schema %I rename to %I", schema, name))


async def drop(connection: "Connection[Any]", schema: str) -> None:
    """Drop a schema with all that is in it, if it exists."""
    await connection.execute(await _formatted(connection, "drop schema if exists %I cascade", schema))


async def _formatted(connection: "Connection[Any]", statement: str, *names: str) -> str:
    """Let the server put identifiers into a statement, quoted."""
    formatted: str = await connection.fetchval("select format($1, variadic $2::text[])", statement, names)
    return formatted
