"""The projector process: follow the log, and sign it, until a signal."""

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

import uvloop

from events.log import postgres
from events.log.tasks import end
from projections.runner import follow_log
from services.clock import now
from services.proof.signing import sign_log
from services.settings import Settings
from services.starting import await_schema
from services.status.processes import Life
from services.tracing.opening import open_tracing

if TYPE_CHECKING:
    from services.tracing.views import Windows

logger = logging.getLogger(__name__)


async def _follow(settings: Settings) -> None:
    dsn, tracing = settings.database_url, open_tracing(settings, "projector")
    try:
        await _work(settings, dsn, None if tracing is None else tracing.windows)
    finally:
        if tracing is not None:
            tracing.close()


async def _work(settings: Settings, dsn: str, windows: "Windows | None") -> None:
    await await_schema(dsn, "projector")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Life(dsn, "projector").run())
        tasks.create_task(postgres.watch(dsn))
        tasks.create_task(follow_log(dsn, now, tracing=windows))
        if settings.public_log.log_keys:
            tasks.create_task(sign_log(settings))
        else:
            logger.warning("the public log isn't signed: this projector has no BALLOTPRESS_LOG_KEY")


async def _until_signalled(settings: Settings) -> None:
    following, signalled = asyncio.create_task(_follow(settings)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait([following, waiting], return_when=asyncio.FIRST_COMPLETED)
    if signalled.is_set():
        logger.info("the projector stops")
        await end(following)
        await Life(settings.database_url, "projector").leave()
        return
    waiting.cancel()
    await following


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    uvloop.run(_until_signalled(settings))
