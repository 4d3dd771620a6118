"""Follow the log with one runner a projection, woken by the log's channel, ringing that of the projections."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from events.registry import REGISTRY
from projections.engine import notify
from projections.engine.projection import Projection
from projections.engine.runner import Runner
from projections.registry import PROJECTIONS

# Seconds between two windows under load: cards show votes, the others may follow in larger windows.
PACES = {"cards": 0.03}
PACE = 0.08


async def follow_log(dsn: str, clock: Callable[[], datetime], projections: Sequence[Projection] = PROJECTIONS) -> None:
    """Keep every projection, or these alone, up with the log until cancelled."""
    bell = notify.Bell(dsn, notify.VIEWS)
    runners = [Runner(dsn, p, REGISTRY, clock=clock, on_advance=bell.ring, pace=PACES.get(p.name, PACE)) for p in projections]

    def wake() -> None:
        for runner in runners:
            runner.wake.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bell.run())
        tasks.create_task(notify.listen(dsn, notify.LOG, wake))
        for runner in runners:
            tasks.create_task(runner.run())
