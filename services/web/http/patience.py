"""Patience with bodies: who sends nothing, or too slowly, is given up, and its place is free again.

One look now and then finds all that are late. A timer for each body would cost every vote more than to decode it.
"""

import asyncio
from typing import Any, Final, Protocol

LOOK_SECONDS: Final = 0.25
TOO_SLOW: Final = "The body didn't arrive in time."
"""With this a task is cancelled whose body is late."""


class Arriving(Protocol):
    """A body that is being read by a task."""

    task: "asyncio.Task[Any]"

    def is_late(self, now: float) -> bool:
        """Tell whether more of it should have come by a time of the event loop."""


class Patience:
    """The bodies that a process is reading; made once a process, inside its event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()  # kept: before Python 3.12, to ask for it is a system call
        self._arriving: set[Arriving] = set()
        self._is_looking = False

    def begin(self, body: Arriving) -> None:
        """Watch a body until `end`."""
        self._arriving.add(body)
        if not self._is_looking:
            self._is_looking = True
            self._look_later()

    def end(self, body: Arriving) -> None:
        """Watch a body no more."""
        self._arriving.discard(body)

    def _look_later(self) -> None:
        self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        for body in self._arriving:
            if body.is_late(now):
                body.task.cancel(TOO_SLOW)
        self._is_looking = bool(self._arriving)
        if self._is_looking:
            self._look_later()
