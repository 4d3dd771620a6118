"""The end of background tasks: one that talks to PostgreSQL may have to be told more than once."""

import asyncio
from typing import Any, Final

PAUSE_SECONDS: Final = 1.0


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks until each has ended, however it ends.

    On Python 3.11 asyncpg loses a cancellation that arrives just as what it waits for is done, and the task goes on.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=PAUSE_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
