"""Counts of one process alone, by the rule of limits.lua: they stand in while Valkey is away, so that no limit ever lapses."""

from collections.abc import Sequence
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple

SLICES: Final = 6
MOST_COUNTERS: Final = 100_000


class Verdict(NamedTuple):
    """Milliseconds to wait (0: granted), the place of the scarcest counter, what remains of it, and when there is more."""

    wait: int
    scarcest: int
    remaining: int
    reset: int


class Bound(NamedTuple):
    """A counter's key, its limit, and its window in milliseconds."""

    key: str
    most: int
    window: int


class _Counter:
    """The counts of the last slices of a window, the newest first; slices are numbered from the first write on."""

    __slots__ = ("counts", "number", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.number = 0
        self.counts = [0] * SLICES

    def forward(self, now: float, window: int) -> None:
        """Forget the slices that began a whole window ago."""
        shift = int((now - self.start) * SLICES // window) - self.number
        if shift >= SLICES:
            self.__init__(now)  # type: ignore[misc]
        elif shift > 0:
            self.number += shift
            self.counts = [*([0] * shift), *self.counts][:SLICES]

    def wait(self, now: float, window: int, excess: int) -> int:
        """Return the milliseconds until so many of its counts are forgotten."""
        for slice_ in range(SLICES - 1, -1, -1):
            excess -= self.counts[slice_]
            if excess <= 0 and self.counts[slice_]:
                return max(1, int(self.start + (self.number - slice_ + SLICES) * window / SLICES - now) + 1)
        return window


class LocalCounts:
    """The counters of one process."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}

    def decide(self, bounds: Sequence[Bound]) -> Verdict:
        """Grant a claim if each of its counters has room, and only then count it."""
        now = monotonic() * 1000
        found = [self._counter(bound, now) for bound in bounds]
        left = [bound.most - sum(counter.counts) for bound, counter in zip(bounds, found, strict=True)]
        waits = [
            counter.wait(now, bound.window, 1 - room) if room < 1 else 0
            for bound, counter, room in zip(bounds, found, left, strict=True)
        ]
        scarcest = left.index(min(left))
        if any(waits):
            return Verdict(max(waits), scarcest, max(0, left[scarcest]), max(waits))
        for counter in found:
            counter.counts[0] += 1
        return Verdict(0, scarcest, left[scarcest] - 1, found[scarcest].wait(now, bounds[scarcest].window, 1))

    def _counter(self, bound: Bound, now: float) -> _Counter:
        counter = self._counters.get(bound.key)
        if counter is None:
            if len(self._counters) >= MOST_COUNTERS:  # the oldest half goes: memory has an end, and wider blocks still count
                for key in list(islice(self._counters, MOST_COUNTERS // 2)):
                    del self._counters[key]
            counter = self._counters[bound.key] = _Counter(now)
        counter.forward(now, bound.window)
        return counter
