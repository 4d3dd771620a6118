"""The projector process: follow the log until a signal."""

import asyncio
import logging
import signal

import uvloop

from projections.runner import follow_log
from services.clock import now
from services.settings import Settings

logger = logging.getLogger(__name__)


async def _until_signalled(dsn: str) -> None:
    task = asyncio.create_task(follow_log(dsn, now))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logger.info("the projector stops")


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    uvloop.run(_until_signalled(settings.database_url))
