"""The projector process: one runner a projection, woken by the log's bell, ringing the views' bell."""

import asyncio
import logging
import signal

import uvloop

from events.registry import REGISTRY
from projections.engine import notify
from projections.engine.projection import Projection
from projections.engine.runner import Runner
from projections.registry import PROJECTIONS
from services.clock import now
from services.settings import Settings

logger = logging.getLogger(__name__)


def _pace(projection: Projection) -> float:
    """Keep windows so many seconds apart under load: cards show votes, the others may follow in larger windows."""
    return 0.03 if projection.name == "cards" else 0.08


async def project(dsn: str) -> None:
    """Keep every view up with the log until cancelled."""
    views = notify.Bell(dsn, notify.VIEWS)
    runners = [Runner(dsn, p, REGISTRY, on_advance=views.ring, clock=now, pace=_pace(p)) for p in PROJECTIONS]

    def wake() -> None:
        for runner in runners:
            runner.wake.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(views.run())
        tasks.create_task(notify.listen(dsn, notify.LOG, wake))
        for runner in runners:
            tasks.create_task(runner.run())


async def _until_told(dsn: str) -> None:
    task = asyncio.create_task(project(dsn))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logger.info("the projector stops")


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    uvloop.run(_until_told(settings.database_url))
