"""The end of background tasks."""

import asyncio
import contextlib

from events.log.tasks import end


async def stubborn(begun: asyncio.Event, losses: int) -> None:
    """Lose as many cancellations, as asyncpg may on Python 3.11, then end with the next."""
    begun.set()
    for _ in range(losses):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    await asyncio.sleep(3600)


async def broken() -> None:
    """Fail at once."""
    raise ValueError("broken")


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    """A task is told until it has ended, and one that failed raises nothing to whoever ends it."""
    begun = asyncio.Event()
    tasks = asyncio.create_task(stubborn(begun, 1)), asyncio.create_task(broken())
    await begun.wait()
    await end(*tasks)
    assert [task.done() for task in tasks] == [True, True]
