"""Admission: under more load than the process can carry, requests are refused at once instead of served late.

Two rules. A request that waited too long for its turn on the event loop is refused: its caller may be gone, and what it would
cost is better spent on a fresher one. And no more than so many requests are under way, writes fewer than reads, because what
is taken beyond that waits for the log in vain. Health, metrics and operators are never refused.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from time import perf_counter
from typing import Final, TypeVarTuple

import uvloop

A = TypeVarTuple("A")

OLDEST_SECONDS: Final = 1.0
MOST_WRITES: Final = 512
"""A whole batch of the log: more can't be carried by one commit."""
FEWEST_WRITES: Final = 64
AIM_SECONDS: Final = 1.0
"""What a write may take on average before fewer are admitted."""
MOST_READS: Final = 1024
FORGET_SECONDS: Final = 2.5
"""A request under way for longer waits for its caller or for a view, and costs nothing meanwhile: it no longer counts."""
SPANS: Final = 5
ALWAYS: Final = ("/health/", "/metrics", "/v1/ops/", "/ops")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_arrived: ContextVar[float] = ContextVar("arrived", default=0.0)


class ArrivalLoop(uvloop.Loop):
    """An event loop that remembers when the server, which has threads of its own, handed it a request."""

    def call_soon_threadsafe(
        self, callback: Callable[[*A], object], *args: *A, context: Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback; if it has a context, the time of this call stands there, and in the tasks that it makes."""
        if context is None:
            return super().call_soon_threadsafe(callback, *args)
        return super().call_soon_threadsafe(_note_and_call, perf_counter(), callback, args, context=context)


def _note_and_call(arrived: float, callback: Callable[[*A], object], args: tuple[*A]) -> None:
    """Call a callback in whose context the time of its coming stands; the next one's stands there when that is called."""
    _arrived.set(arrived)
    callback(*args)


def waited(now: float) -> float:
    """Return how many seconds the present request had to wait for the event loop; 0 where nobody noted it."""
    arrived = _arrived.get()
    return now - arrived if arrived else 0.0


class _Span:
    """The requests that began within the same half second or so; `count` of them are under way, and count or not any more."""

    __slots__ = ("count", "is_counted")

    def __init__(self) -> None:
        self.count = 0
        self.is_counted = True


class Place:
    """What one request holds while it is under way."""

    __slots__ = ("_admission", "_began", "_is_write", "_span")

    def __init__(self, admission: "Admission", span: _Span, began: float, is_write: bool) -> None:
        self._admission = admission
        self._span = span
        self._began = began
        self._is_write = is_write
        span.count += 1
        admission.under_way += 1

    def leave(self, now: float) -> None:
        """Free the place, and note how long it was held."""
        self._span.count -= 1
        if self._span.is_counted:
            self._admission.under_way -= 1
        if self._is_write:
            self._admission.note(now - self._began)


class Admission:
    """Counts the requests under way and refuses what is too much; one a process.

    How many writes may be under way follows from how long they take: fewer as soon as they take longer than callers should
    wait, more again while they are answered soon.
    """

    def __init__(self, most_writes: int = MOST_WRITES, most_reads: int = MOST_READS) -> None:
        self._most_writes = most_writes
        self._most_reads = most_reads
        self._spans: deque[_Span] = deque([_Span()])
        self.under_way = 0
        """The requests that are under way and count."""
        self._span_ends = 0.0
        self._ended = 0
        self._seconds = 0.0
        self.writes = most_writes
        self.refused = 0

    def enter(self, method: str, path: str, now: float, waited: float) -> Place | None:
        """Admit a request that waited so long, and return the place that it holds until its answer; None refuses it."""
        if now >= self._span_ends:
            self._begin_span(now)
        is_write = method not in _READS
        most = self.writes if is_write else self._most_reads
        if (waited > OLDEST_SECONDS or self.under_way >= most) and not path.startswith(ALWAYS):
            self.refused += 1
            return None
        return Place(self, self._spans[-1], now - waited, is_write)

    def note(self, seconds: float) -> None:
        """Take in how long a write took; one that took longer than anything counts waited for its caller."""
        if seconds < FORGET_SECONDS:
            self._ended += 1
            self._seconds += seconds

    def _begin_span(self, now: float) -> None:
        keep = 0 if now - self._span_ends > FORGET_SECONDS else SPANS - 1
        while len(self._spans) > keep:
            over = self._spans.popleft()
            over.is_counted = False
            self.under_way -= over.count
        self._spans.append(_Span())
        self._span_ends = now + FORGET_SECONDS / SPANS
        mean = self._seconds / self._ended if self._ended else 0.0
        if mean > AIM_SECONDS:
            self.writes = max(FEWEST_WRITES, int(self.writes * AIM_SECONDS / mean))
        elif mean < AIM_SECONDS / 2:
            self.writes = min(self._most_writes, self.writes + self.writes // 4 + 1)
        self._ended, self._seconds = 0, 0.0


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
