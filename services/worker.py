"""The worker: scheduled work, mail, and what the site tells others. Valkey is its clock and doorbell; PostgreSQL has all state.

It retries a lost Valkey for some seconds, and then ends with an error so that its supervisor restarts it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine, Iterator
from datetime import UTC
from time import monotonic
from typing import Any

import uvloop
from arq import cron, func
from arq.cron import CronJob
from arq.worker import Worker

from events.log import postgres
from events.log.leftovers import remove_leftovers
from events.log.parts import announce, keep, make_room_ahead
from events.log.store import clear_old_receipts
from services import valkey
from services.integrity import decisions
from services.integrity.marks import DAYS, forget_marks, marks_of, unmarked
from services.integrity.puzzle import slow_down
from services.integrity.scan import scan, silent
from services.newsletter.arrival import is_checked
from services.newsletter.doorbell import DOORBELL
from services.newsletter.mailroom import Mailroom
from services.operators import sessions
from services.person.notes import Notes
from services.purge.follower import Following
from services.purge.hook import hook_of
from services.settings import Settings
from services.starting import await_schema
from services.status.day import keep_sizes
from services.status.processes import Life
from services.status.read import LAST_TICK
from services.tracing.opening import open_tracing
from services.webhooks.desk import Desk

logger = logging.getLogger(__name__)

START_SECONDS = 5.0
HEALTH_EVERY = 20
"""Seconds between two signs of life; each worker has a key of its own for them."""


def run(settings: Settings) -> None:
    """Work until stopped. Raises the error of Valkey's client when Valkey is lost for good."""
    asyncio.set_event_loop(uvloop.new_event_loop())  # arq takes the thread's
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # it would log every minute's tick
    if is_checked(settings) and not settings.base_url.startswith("https:"):
        logger.warning("BALLOTPRESS_BASE_URL isn't https: mail programs won't offer one-click unsubscribing (RFC 8058)")
    tracing = open_tracing(settings, "worker")
    mailroom = Mailroom(settings, None if tracing is None else tracing.mails)
    asyncio.get_event_loop().run_until_complete(await_schema(settings.database_url, "worker"))
    began = monotonic()
    erasures = Notes(settings)
    life = Life(settings.database_url, "worker", lambda: _trouble(mailroom, began) or erasures.trouble)
    desk = Desk(settings)
    worker = create_worker(settings, mailroom, desk, erasures)
    beside = [worker.loop.create_task(one) for one in (life.run(), erasures.run(), *_watching(settings))]
    try:
        worker.run()
    except Exception as error:
        worker.loop.run_until_complete(life.say(f"has lost Valkey: {error or type(error).__name__}"))
        raise
    finally:
        for task in beside:
            task.cancel()
        # Not in arq's on_shutdown, which isn't reached when Valkey is gone: a chunk under way must be finished all the same.
        worker.loop.run_until_complete(_close(mailroom, desk))
        if tracing is not None:
            tracing.close()
    worker.loop.run_until_complete(life.leave())


def _watching(settings: Settings) -> Iterator[Coroutine[Any, Any, None]]:
    """Return what watches for other servers and for what caches must forget, until cancelled."""
    yield postgres.watch(settings.database_url)
    if (hook := hook_of(settings)) is not None:
        yield Following(settings.database_url, hook).run()


def _trouble(mailroom: Mailroom, began: float) -> str | None:
    """Return what keeps a worker from its work: it opens its mailroom as soon as it has reached Valkey."""
    if mailroom.trouble is not None:
        return mailroom.trouble
    if mailroom.is_open or monotonic() - began < START_SECONDS:
        return None
    return "has not reached Valkey: see REDIS_URL in its environment"


class _Worker(Worker):
    """A worker that ends well though a job of it was stopped before it had begun: arq's own ends with an error then."""

    async def close(self) -> None:
        """Wait for the jobs that began, and close."""
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        self.tasks = {name: task for name, task in self.tasks.items() if not task.cancelled()}
        await super().close()


def create_worker(settings: Settings, mailroom: Mailroom, desk: Desk, erasures: Notes) -> Worker:
    """Return a worker that isn't running yet. It opens the mailroom and the webhooks' desk when it starts."""
    return _Worker(
        functions=[func(_wake, name=DOORBELL, keep_result=0)],
        cron_jobs=_jobs(),
        on_startup=_open,
        redis_pool=valkey.queue(settings.redis_url),
        ctx={"mailroom": mailroom, "desk": desk, "erasures": erasures, **_given(settings)},
        **valkey.JOBS,
        health_check_key=f"ballotpress:worker:{socket.gethostname()}:{os.getpid()}",
        health_check_interval=HEALTH_EVERY,
        job_timeout=300,
        timezone=UTC,
    )


def _jobs() -> list[CronJob]:
    """Return what a worker does by the clock."""
    return [
        cron(_check_mail, minute=set(range(60)), second=30, run_at_startup=True, keep_result=0),
        cron(_clear_old_receipts, minute=7, run_at_startup=True),
        cron(_clear_sessions, minute=22, run_at_startup=True),
        cron(_forget_marks, minute={2, 32}, run_at_startup=True),
        cron(_forget_unconfirmed, minute=37),
        cron(_keep_parts, minute=52),
        cron(_keep_sizes, minute=11, run_at_startup=True),
        cron(_make_room, minute=set(range(60)), second=15, run_at_startup=True, keep_result=0),
        cron(_remove_leftovers, hour=3, minute=47),
        cron(_resume_decisions, minute=set(range(60)), run_at_startup=True, keep_result=0),
        cron(_scan, minute=set(range(3, 60, 10)), run_at_startup=True, keep_result=0),
        cron(_tick, minute=set(range(60)), run_at_startup=True, keep_result=0),
    ]


def _given(settings: Settings) -> dict[str, Any]:
    """Return what the settings say to the jobs."""
    return {
        "database_url": settings.database_url,
        "log_part_size": settings.log_part_size,
        "days": DAYS if settings.network_marks else 0,
        "idle_minutes": settings.signing_in.idle_minutes,
        "false_alarms": settings.false_alarms,
        "alarm": slow_down if settings.puzzle == "detector" else silent,
        "marks": marks_of if settings.network_marks else unmarked,
    }


async def _close(mailroom: Mailroom, desk: Desk) -> None:
    """Finish at once what both have begun: whoever stops a worker waits for the slower one alone."""
    await asyncio.gather(mailroom.close(), desk.close())


async def _open(ctx: dict[str, Any]) -> None:
    await ctx["erasures"].begin()
    await ctx["mailroom"].open()
    await ctx["desk"].open()


async def _wake(ctx: dict[str, Any]) -> None:
    ctx["mailroom"].wake()


async def _tick(ctx: dict[str, Any]) -> None:
    await ctx["mailroom"].tick()
    seconds, microseconds = await ctx["redis"].time()
    await ctx["redis"].set(LAST_TICK, seconds + microseconds / 1e6)


async def _check_mail(ctx: dict[str, Any]) -> None:
    await ctx["mailroom"].check()


async def _resume_decisions(ctx: dict[str, Any]) -> int:
    return await decisions.resume(ctx["database_url"])


async def _scan(ctx: dict[str, Any]) -> None:
    await scan(ctx["database_url"], ctx["false_alarms"], ctx["marks"], alarm=ctx["alarm"])


async def _forget_unconfirmed(ctx: dict[str, Any]) -> Any:
    return await ctx["mailroom"].forget()


async def _remove_leftovers(ctx: dict[str, Any]) -> int:
    return (await remove_leftovers(ctx["database_url"])).left


async def _forget_marks(ctx: dict[str, Any]) -> int:
    connection = await postgres.connect(ctx["database_url"], "worker", seconds=60)
    try:
        return await forget_marks(connection, ctx["days"])
    finally:
        await connection.close()


async def _clear_sessions(ctx: dict[str, Any]) -> None:
    connection = await postgres.connect(ctx["database_url"], "worker")
    try:
        await sessions.clear(connection, ctx["idle_minutes"])
    finally:
        await connection.close()


async def _keep_sizes(ctx: dict[str, Any]) -> None:
    connection = await postgres.connect(ctx["database_url"], "worker")
    try:
        await keep_sizes(connection)
    finally:
        await connection.close()


async def _make_room(ctx: dict[str, Any]) -> None:
    connection = await postgres.connect(ctx["database_url"], "worker", seconds=60)
    try:
        await make_room_ahead(connection, ctx["log_part_size"])
        await announce(connection)
    finally:
        await connection.close()


async def _keep_parts(ctx: dict[str, Any]) -> int:
    connection = await postgres.connect(ctx["database_url"], "worker", seconds=240)
    try:
        return await keep(connection)
    finally:
        await connection.close()


async def _clear_old_receipts(ctx: dict[str, Any]) -> int:
    connection = await postgres.connect(ctx["database_url"], "worker")
    try:
        return await clear_old_receipts(connection)
    finally:
        await connection.close()
