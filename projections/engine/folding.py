"""Fold the log, in large windows, into tables that nobody reads yet: for a rebuild, a comparison, or a roll-back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import Any

import msgspec
from asyncpg import Connection

from events.log.archive.present import Present, Reader
from events.log.event import Registry
from projections.engine.projection import Projection, live_position
from projections.engine.runner import Advanced, advance

# A window touches each row once, so large ones cost less an event. Votes and reads share the server with a rebuild: it takes
# one core a job, and rests for as long as it worked (`make bench` measures what they feel). A multiple of 256, the leaves of a
# tile of the tree, so that no tile is in two ranges.
WINDOW = 2**18
PAUSE_SECONDS = 0.2
# Below this many events the rest is folded while the live checkpoint is held.
NEARLY = 2_000


class Progress(msgspec.Struct, frozen=True):
    """How far a fold is: the position reached, the position to reach, and this run's events a second."""

    projection: str
    position: int
    target: int
    rate: float


Report = Callable[[Progress], None]


class Pace(msgspec.Struct, frozen=True):
    """How a fold goes: events in a window, the least seconds of rest between two, and how few events end it."""

    pause: float = PAUSE_SECONDS
    window: int = WINDOW
    nearly: int = NEARLY

    def rest(self, worked: float) -> float:
        """Return the seconds to rest after a window: as long as it took, and at least `pause`; without a pause, none."""
        return max(self.pause, worked) if self.pause else 0.0


class Jobs:
    """Room for so many backends that work at once, over all the views that are folded side by side.

    `hands` are those that fold ranges: each has connections of its own, which the server has for votes, too.
    """

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.room = asyncio.Semaphore(number)
        self.hands = asyncio.Semaphore(number)


class Work(msgspec.Struct, frozen=True):
    """What is folded, and how: each of several views has its own, with the jobs and the archived parts that they share."""

    dsn: str
    projection: Projection
    registry: Registry
    pace: Pace
    report: Report
    jobs: Jobs
    present: Present | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Let somebody read the log of this view, archived parts too: together with others, or alone."""
        shared = Present(self.dsn) if self.present is None else nullcontext(self.present)
        async with shared as present, present.reader(self.projection.name) as reader:
            yield reader


class Folding:
    """Folds the log into tables on a connection, window by window, towards the live checkpoint."""

    def __init__(self, connection: "Connection[Any]", work: Work) -> None:
        self._connection = connection
        self._work = work
        self._began = monotonic()
        self._folded = 0

    async def nearly(self) -> None:
        """Fold until few events are left, archived ones too.

        Raises Halted at an event that fails; PlaceUnusable, FileBroken or ArchiveRefused where a part can't be loaded.
        """
        async with self._work.reading() as reader:
            while await self._further(reader):
                pass

    async def _further(self, reader: Reader) -> bool:
        """Fold a window, unless few events are left and none of them is archived; return whether it did."""
        start, target = await places(self._connection, self._work.projection)
        if target - start <= self._work.pace.nearly and (start >= target or not await reader.is_archived(start, target)):
            return False
        await reader.ensure(start, min(start + self._work.pace.window, target))
        async with self._work.jobs.room:
            began = monotonic()
            await self._window(target)
            await asyncio.sleep(self._work.pace.rest(monotonic() - began))
        return True

    async def rest(self) -> int:
        """Fold to the live checkpoint, which the caller holds, and return its position."""
        start, target = await places(self._connection, self._work.projection)
        while start < target:
            advanced = await self._advance(target)
            start = advanced.end or start
        return start

    async def _window(self, target: int) -> None:
        advanced = await self._advance(target)
        if advanced.end is not None and advanced.start is not None:
            self._folded += advanced.end - advanced.start
            rate = self._folded / max(monotonic() - self._began, 1e-6)
            self._work.report(Progress(self._work.projection.name, advanced.end, target, rate))

    async def _advance(self, target: int) -> Advanced:
        # The live view has what is below `target`: a hole there stays one, and who holds its checkpoint mustn't wait for it.
        work = self._work
        return await advance(self._connection, work.projection, work.registry, work.pace.window, target, patience=0)


async def places(connection: "Connection[Any]", projection: Projection) -> tuple[int, int]:
    """Return the position of the connection's tables and the one to reach: the live checkpoint's, if the log goes that far."""
    position: int = await connection.fetchval("select position from checkpoint")
    head: int = await connection.fetchval("select position from log.head")
    return position, min(await live_position(connection, projection), head)
