"""Build a projection anew beside the live tables, show what that would change, and only then switch.

The switch alone touches the live tables: one transaction that locks the live checkpoint, folds the last window and renames.
A killed rebuild resumes at its own checkpoint, if the same statements made it. One rebuild of a projection at a time.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import asyncpg
from asyncpg import Connection

from events.log import postgres
from events.log.archive.present import Present
from events.log.event import Registry
from projections.engine import ranges, verify
from projections.engine.folding import Folding, Jobs, Pace, Report, Work
from projections.engine.projection import (
    EXISTS,
    Projection,
    commit_durably,
    connect_patiently,
    drop,
    inherit_caught_up,
    lock_live,
    rename,
    work_in,
)

T = TypeVar("T")

# How often the live checkpoint's lock, 2 s each time, is tried: a large window of the projector's may hold it.
TRIES = 5


CAN_RESUME = "select made_by = $1 and log.holds(seen_position, seen_at, seen_stream) from checkpoint"


class NothingKept(Exception):
    """No earlier tables of this projection and version were kept."""


class Rebuild:
    """One rebuild of one projection; its caller holds `only_one`. `sources` finds the events behind a row that differs.

    `present` loads archived parts, also for others that are rebuilt beside it.
    """

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        registry: Registry,
        *,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        report: Report = lambda _: None,
        sources: Mapping[str, verify.Source] = {},
        jobs: Jobs | None = None,
        present: Present | None = None,
    ) -> None:
        self.projection = projection
        self._dsn = dsn
        self._work = Work(dsn, projection, registry, pace, report, jobs or Jobs(), present)
        self._sources = sources

    async def prepare(self) -> bool:
        """Make the tables beside the live ones, or keep those of a rebuild that was cut short; return whether it resumes."""
        schema = self.projection.next_schema
        connection = await connect_patiently(self._dsn, schema)
        try:
            await drop(connection, self.projection.gone_schema)
            if await connection.fetchval(EXISTS, schema):
                if await connection.fetchval(CAN_RESUME, self.projection.digest):
                    return True
                await drop(connection, schema)
            async with connection.transaction():
                await self.projection.create(connection, schema, indexed=False)
            return False
        finally:
            await connection.close()

    async def catch_up(self) -> None:
        """Fold ranges side by side, then windows, until the rebuilt tables are nearly at the live position; make their indexes.

        Raises Halted at an event that fails.
        """
        connection = await connect_patiently(self._dsn, self.projection.next_schema)
        try:
            await ranges.begin(connection, self._work, self.projection.next_schema)
            await Folding(connection, self._work).nearly()
            async with self._work.jobs.room:
                await self.projection.make_indexes(connection)
        finally:
            await connection.close()

    async def compare(self) -> verify.Diff:
        """Compare the rebuilt and the live tables by key, at one position and in one snapshot. The live ones go on."""
        connection = await connect_patiently(self._dsn, self.projection.next_schema)
        try:
            async with self._work.jobs.room:
                diff = await verify.compare(connection, self._work, self.projection.next_schema)
            return await verify.with_events(connection, diff, self._sources)
        finally:
            await connection.close()

    async def switch(self, *, keep_previous: bool) -> float:
        """Put the rebuilt tables in the place of the live ones, at their position; keep those or drop them.

        Returns for how many seconds the live checkpoint was held.
        """
        connection = await connect_patiently(self._dsn, self.projection.next_schema)
        try:
            held = await _patiently(lambda: self._switch(connection))
            await drop(connection, self.projection.gone_schema)
            if not keep_previous:
                await drop(connection, self.projection.previous_schema)
            return held
        finally:
            await connection.close()

    async def abandon(self) -> None:
        """Drop the tables built beside the live ones."""
        connection = await postgres.connect(self._dsn, "replay")
        try:
            await drop(connection, self.projection.next_schema)
        finally:
            await connection.close()

    async def _switch(self, connection: "Connection[Any]") -> float:
        async with connection.transaction():
            await commit_durably(connection)
            await lock_live(connection, self.projection)
            began = monotonic()
            await Folding(connection, self._work).rest()
            await inherit_caught_up(connection, self.projection)
            if await connection.fetchval(EXISTS, self.projection.previous_schema):
                await rename(connection, self.projection.previous_schema, self.projection.gone_schema)
            await rename(connection, self.projection.schema, self.projection.previous_schema)
            await rename(connection, self.projection.next_schema, self.projection.schema)
        return monotonic() - began


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(TRIES - 1):
        with suppress(asyncpg.LockNotAvailableError):
            return await work()
    return await work()


async def roll_back(dsn: str, projection: Projection, registry: Registry, report: Report = lambda _: None) -> int:
    """Catch the kept tables up and put them back; the live ones are kept in their place. Return their position.

    Raises NothingKept.
    """
    kept = projection.previous_schema
    connection = await connect_patiently(dsn, kept)
    try:
        if not await connection.fetchval(EXISTS, kept):
            raise NothingKept(projection.name)
        folding = Folding(connection, Work(dsn, projection, registry, Pace(pause=0), report, Jobs()))
        await folding.nearly()
        return await _patiently(lambda: _swap(connection, projection, folding))
    finally:
        await connection.close()


async def _swap(connection: "Connection[Any]", projection: Projection, folding: Folding) -> int:
    aside = f"{projection.schema}_swap"
    kept = projection.previous_schema
    async with connection.transaction():
        await commit_durably(connection)
        await lock_live(connection, projection)
        position = await folding.rest()
        await rename(connection, projection.schema, aside)
        await rename(connection, kept, projection.schema)
        await rename(connection, aside, kept)
    await work_in(connection, projection.schema)
    return position
