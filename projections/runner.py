"""Follow the log with one runner a projection, woken by the log's channel, ringing that of the projections."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from events.log.traced import WindowsTrace
from events.registry import REGISTRY
from projections.engine import notify
from projections.engine.projection import Projection
from projections.engine.runner import Runner
from projections.registry import PROJECTIONS

# Seconds between two windows under load: cards show votes, the others may follow in larger windows.
PACES = {"cards": 0.03}
PACE = 0.08


class Tracing(WindowsTrace, Protocol):
    """Traces windows: it hears which batches are traced, and tells which windows are."""

    tell: Callable[[str], None]

    def hear(self, words: str) -> None:
        """Take in which batches are traced."""


async def follow_log(
    dsn: str,
    clock: Callable[[], datetime],
    projections: Sequence[Projection] = PROJECTIONS,
    tracing: Tracing | None = None,
) -> None:
    """Keep every projection, or these alone, up with the log until cancelled."""
    bell = notify.Bell(dsn, notify.VIEWS)
    told = None
    if tracing is not None:
        tracing.tell, told = bell.say, tracing.hear
    runners = [
        Runner(dsn, p, REGISTRY, clock=clock, on_advance=bell.ring, tracing=tracing, pace=PACES.get(p.name, PACE))
        for p in projections
    ]

    def wake() -> None:
        for runner in runners:
            runner.wake.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bell.run())
        tasks.create_task(notify.listen(dsn, notify.LOG, wake, told))
        for runner in runners:
            tasks.create_task(runner.run())
