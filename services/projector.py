"""The projector process: follow the log until a signal."""

import asyncio
import logging
import signal

import uvloop

from events.log.tasks import end
from projections.runner import follow_log
from services.clock import now
from services.settings import Settings
from services.starting import await_schema
from services.status.processes import Life

logger = logging.getLogger(__name__)


async def _follow(dsn: str) -> None:
    await await_schema(dsn, "projector")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Life(dsn, "projector").run())
        tasks.create_task(follow_log(dsn, now))


async def _until_signalled(dsn: str) -> None:
    following, signalled = asyncio.create_task(_follow(dsn)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
    if signalled.is_set():
        logger.info("the projector stops")
        await end(following)
        return
    waiting.cancel()
    await following


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    uvloop.run(_until_signalled(settings.database_url))
