"""Which requests are traced: a share of all, and those whose caller traces them, as far as those are few.

The header `traceparent` is anybody's to send, so what it asks for is granted a few times a second.
"""

import random
from collections.abc import Callable
from time import monotonic
from typing import Final

ASKED_PER_SECOND: Final = 10.0
"""Requests of a process that are traced because their caller asked for it; as many may come at once."""


class Sampling:
    """Decides by the share that is set and by what the caller said: a parent that is not sampled has no traced child."""

    def __init__(
        self, share: float, *, draw: Callable[[], float] = random.random, clock: Callable[[], float] = monotonic
    ) -> None:
        self._share = share
        self._draw = draw
        self._clock = clock
        self._left = ASKED_PER_SECOND
        self._filled = clock()

    def takes(self, asked: bool | None = None) -> bool:
        """Return whether to trace a request; `asked` is its caller's sampled flag, None without a valid one."""
        if asked is False:
            return False
        return self._draw() < self._share or (asked is True and self._grant())

    def _grant(self) -> bool:
        now = self._clock()
        self._left = min(ASKED_PER_SECOND, self._left + (now - self._filled) * ASKED_PER_SECOND)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
