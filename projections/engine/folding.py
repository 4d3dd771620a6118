"""Fold the log, in large windows, into tables that nobody reads yet: for a rebuild, a comparison, or a roll-back."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import msgspec
from asyncpg import Connection

from events.log.event import Registry
from projections.engine.projection import Projection, live_position
from projections.engine.runner import advance

# A window touches each row once, so large ones cost less an event. Votes and reads share the server with a rebuild: it takes
# one core, and rests for as long as it worked (`make bench` measures what they feel).
WINDOW = 250_000
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


class Folding:
    """Folds the log into tables on a connection, window by window, towards the live checkpoint."""

    def __init__(
        self, connection: "Connection[Any]", projection: Projection, registry: Registry, pace: Pace, report: Report
    ) -> None:
        self._connection = connection
        self._projection = projection
        self._registry = registry
        self._pace = pace
        self._report = report
        self._began = monotonic()
        self._folded = 0

    async def nearly(self) -> None:
        """Fold until few events are left. Raises Halted at an event that fails."""
        while True:
            start, target = await self._places()
            if target - start <= self._pace.nearly:
                return
            began = monotonic()
            advanced = await advance(self._connection, self._projection, self._registry, self._pace.window, target)
            if advanced.end is not None and advanced.start is not None:
                self._folded += advanced.end - advanced.start
                rate = self._folded / max(monotonic() - self._began, 1e-6)
                self._report(Progress(self._projection.name, advanced.end, target, rate))
            await asyncio.sleep(self._pace.rest(monotonic() - began))

    async def rest(self) -> int:
        """Fold to the live checkpoint, which the caller holds, and return its position."""
        start, target = await self._places()
        while start < target:
            advanced = await advance(self._connection, self._projection, self._registry, self._pace.window, target)
            start = advanced.end or start
        return start

    async def _places(self) -> tuple[int, int]:
        """Return the position of the tables and the one to reach: the live checkpoint's, if the log goes that far."""
        position: int = await self._connection.fetchval("select position from checkpoint")
        head: int = await self._connection.fetchval("select position from log.head")
        return position, min(await live_position(self._connection, self._projection), head)
