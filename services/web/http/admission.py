"""Admission: under more load than the process can carry, requests are refused at once instead of served late.

Two rules. A request that waited too long for its turn on the event loop is refused: its caller may be gone, and what it would
cost is better spent on a fresher one. And no more than so many requests are under way, writes fewer than reads, because what
is taken beyond that waits for the log in vain. Health, metrics and operators are never refused.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from time import perf_counter
from typing import Final, TypeVarTuple

import uvloop

A = TypeVarTuple("A")

OLDEST_SECONDS: Final = 1.0
MOST_WRITES: Final = 512
"""A whole batch of the log: more can't be carried by one commit."""
MOST_READS: Final = 1024
FORGET_SECONDS: Final = 2.5
"""A request under way for longer waits for its caller or for a view, and costs nothing meanwhile: it no longer counts."""
ALWAYS: Final = ("/health/", "/metrics", "/v1/ops/", "/ops")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_arrived: ContextVar[float] = ContextVar("arrived", default=0.0)


class ArrivalLoop(uvloop.Loop):
    """An event loop that remembers when other threads, of which the server's is one, handed it a callback."""

    def call_soon_threadsafe(
        self, callback: Callable[[*A], object], *args: *A, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback; in its context, and in that of the tasks it makes, the time of this call stands."""
        context = copy_context() if context is None else context.copy()
        context.run(_arrived.set, perf_counter())
        return super().call_soon_threadsafe(callback, *args, context=context)


def waited(now: float) -> float:
    """Return how many seconds the present request had to wait for the event loop; 0 where nobody noted it."""
    arrived = _arrived.get()
    return now - arrived if arrived else 0.0


class Slot:
    """The requests under way that began in the same span of time."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Admission:
    """Counts the requests under way and refuses what is too much; one a process."""

    def __init__(self, most_writes: int = MOST_WRITES, most_reads: int = MOST_READS) -> None:
        self._most_writes = most_writes
        self._most_reads = most_reads
        self._slots = (Slot(), Slot())
        self._until = 0.0
        self.refused = 0

    @property
    def under_way(self) -> int:
        """The requests that are under way and count."""
        return self._slots[0].count + self._slots[1].count

    def enter(self, method: str, path: str, now: float, waited: float) -> Slot | None:
        """Admit a request that waited so long, and return the slot that its end frees; None refuses it."""
        if now >= self._until:
            fresh = self._slots[1] if now < self._until + FORGET_SECONDS / 2 else Slot()
            self._slots = (fresh, Slot())
            self._until = now + FORGET_SECONDS / 2
        most = self._most_reads if method in _READS else self._most_writes
        if (waited > OLDEST_SECONDS or self.under_way >= most) and not path.startswith(ALWAYS):
            self.refused += 1
            return None
        slot = self._slots[1]
        slot.count += 1
        return slot


class Sampler:
    """Lets a few lines a second through; the first of the next second says how many were left out."""

    def __init__(self, most: int = 10) -> None:
        self._most = most
        self._second = 0
        self._count = 0

    def left_out(self, now: float) -> int | None:
        """Return how many lines were left out before this one, or None to leave this one out too."""
        second, left_out = int(now), 0
        if second != self._second:
            left_out = max(0, self._count - self._most)
            self._second, self._count = second, 0
        self._count += 1
        return left_out if self._count <= self._most else None
