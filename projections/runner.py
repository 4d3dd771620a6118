"""Follow the log with one runner a projection, woken by the log's channel, ringing that of the projections."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from events.log.traced import WindowsTrace
from events.registry import REGISTRY
from projections.engine import notify
from projections.engine.projection import Projection
from projections.engine.runner import Rests, Runner
from projections.registry import PROJECTIONS

# A log that grows fast is followed in larger windows, unless somebody waits. Cards show votes: they rest longer from some
# 2,500 votes a second on alone. The tree is signed once a second.
RESTS = {"cards": Rests(0.03, an_event=0.0004, most=0.045), "proof": Rests(0.08, an_event=0.01, most=0.25)}
REST = Rests(0.08, an_event=0.01, most=0.5)


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
    if tracing is not None:
        tracing.tell = bell.say
    runners = [
        Runner(dsn, p, REGISTRY, clock=clock, on_advance=bell.ring, tracing=tracing, rests=RESTS.get(p.name, REST))
        for p in projections
    ]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bell.run())
        tasks.create_task(_listen(dsn, runners, tracing))
        for runner in runners:
            tasks.create_task(runner.run())


async def _listen(dsn: str, runners: Sequence[Runner], tracing: Tracing | None) -> None:
    """Wake the runners when the log has grown, and hurry them when somebody waits, until cancelled."""

    def wake() -> None:
        for runner in runners:
            runner.wake.set()

    def told(words: str) -> None:
        if notify.HURRY in words.split():
            for runner in runners:
                runner.hurry.set()
        if tracing is not None:
            tracing.hear(words)

    await notify.listen(dsn, notify.LOG, wake, told)
