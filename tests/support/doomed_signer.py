"""A signer that is killed at one step: `python -m tests.support.doomed_signer DSN FOLDER STEP`.

A step is a statement or a call that brings the file to the disk; the kill falls before it, or just after it. Without a kill the
number of steps is printed.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.signing import sign, signer


class Doom:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.steps = 0

    def step(self) -> None:
        """Count a step."""
        self.steps += 1
        if self.steps == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function with a step before it and one after it."""

        def call(*args: Any, **more: Any) -> Any:
            self.step()
            found = function(*args, **more)
            self.step()
            return found

        return call

    def around_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a coroutine function with a step before it and one after it."""

        async def call(*args: Any, **more: Any) -> Any:
            self.step()
            found = await function(*args, **more)
            self.step()
            return found

        return call


async def main(dsn: str, folder: str, at: int) -> None:
    """Sign once."""
    doom = Doom(at)
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        setattr(asyncpg.Connection, name, doom.around_async(getattr(asyncpg.Connection, name)))
    for name in ("fsync", "fdatasync", "pwrite"):
        setattr(os, name, doom.around(getattr(os, name)))
    Path.replace = doom.around(Path.replace)  # type: ignore[method-assign]
    assert await sign(signer(dsn, Path(folder)), dsn)
    print(doom.steps)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
