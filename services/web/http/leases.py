"""Leases: parts of a limit's room that Valkey has lent to this process, which counts them by itself, so few writes ask Valkey.

What is lent counts in Valkey at once, as if it had happened; what is left of it after a moment is given back. So all processes
together never grant more than the limit within five sixths of its window, less that moment. What is lent and not used is
missing elsewhere: at most a sixteenth of the room that there was, for that moment. Where little room is left nothing is lent,
and of limits below `LEAST_LIMIT` nothing ever: they are exact, whoever asks.
"""

from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

from services.web.http.counters import Counter

LEAST_LIMIT: Final = 256
MOST_SECONDS: Final = 10.0
"""The moment that a lease lasts is a sixtieth of its limit's window, and at most this."""
MOST_KEPT: Final = 10_000


class Lent(NamedTuple):
    """What Valkey says of a lease: its size, the room beside it, when there is more (ms), and the slice it is counted in."""

    number: int
    remaining: int
    reset: int
    start: int
    slice: int


_NOTHING: Final = Lent(0, 0, 0, 0, 0)


class Lease:
    """What is left to this process of a counter, until when, and how often that was asked for."""

    __slots__ = ("_reset_at", "asked", "left", "lent", "seconds", "until")

    def __init__(self, counter: Counter, now: float, lent: Lent = _NOTHING, asked: int = 0) -> None:
        self.lent = lent
        self.left = lent.number
        self.asked = asked
        self.seconds = min(counter[0].seconds / 60, MOST_SECONDS)
        self.until = now + self.seconds
        self._reset_at = now + lent.reset / 1000

    @property
    def remaining(self) -> int:
        """The room that there was when it was lent, less what this process has used of it since."""
        return self.left + self.lent.remaining

    def reset(self, now: float) -> int:
        """Return the milliseconds until there is more room."""
        return max(1, ceil((self._reset_at - now) * 1000))


class Unused(NamedTuple):
    """What is left of a lease that is over."""

    counter: Counter
    lent: Lent
    number: int


Held = Sequence[tuple[Counter, Lease]]


class Leases:
    """The leases of one process, by the clock that the caller reads."""

    def __init__(self) -> None:
        self._kept: dict[Counter, Lease] = {}
        self._unused: list[Unused] = []

    def __len__(self) -> int:
        """Return for how many counters there is a lease, or was a moment ago."""
        return len(self._kept)

    def take_all(self, counters: Sequence[Counter], now: float) -> Held | None:
        """Take one of each of these counters from its lease; None, and nothing is taken, unless every one has some left."""
        found = []
        for counter in counters:
            lease = self._kept.get(counter)
            if lease is None or not lease.left or now >= lease.until:
                return None
            found.append((counter, lease))
        for _, lease in found:
            lease.left -= 1
            lease.asked += 1
        return found

    def take(self, counter: Counter, now: float) -> Lease | None:
        """Take one of a counter from its lease, and return that; None if Valkey must be asked."""
        lease = self._kept.get(counter)
        if lease is None:
            limit = counter[0]
            if limit.is_lent and limit.most >= LEAST_LIMIT and len(self._kept) < MOST_KEPT:
                self._kept[counter] = Lease(counter, now, asked=1)
        elif now >= lease.until:
            self._end(counter, lease)
            if lease.asked < 2:
                self._kept[counter] = Lease(counter, now, asked=1)
        else:
            lease.asked += 1
            if lease.left:
                lease.left -= 1
                return lease
        return None

    def put_back(self, held: Held) -> None:
        """Put back what was taken for a write that was refused."""
        for counter, lease in held:
            if self._kept.get(counter) is lease:
                lease.left += 1
            else:
                self._unused.append(Unused(counter, lease.lent, 1))

    def wanted(self, counter: Counter) -> int:
        """Return how many to be lent of a counter: as many as were asked for lately; none of what is asked for now and then."""
        lease = self._kept.get(counter)
        return 0 if lease is None or lease.asked < 2 else lease.asked

    def renew(self, counter: Counter, lent: Lent, now: float) -> None:
        """Take in what was lent. If the former lease was used up before its end its count goes on: the next is larger."""
        former = self._kept.get(counter)
        if former is not None:
            self._end(counter, former)
        asked = former.asked if former is not None and now < former.until else 0
        self._kept[counter] = Lease(counter, now, lent, asked)

    @property
    def has_unused(self) -> bool:
        """Whether anything is to be given back."""
        return bool(self._unused)

    def unused(self, most: int) -> list[Unused]:
        """Return up to `most` of what is to be given back, and forget it."""
        found, self._unused = self._unused[:most], self._unused[most:]
        return found

    def end_old(self, now: float) -> bool:
        """End what is over, and return whether anything is to be given back."""
        for counter, lease in list(self._kept.items()):
            if now >= lease.until:
                self._end(counter, lease)
                if now >= lease.until + lease.seconds:  # until then it tells how large the next should be
                    del self._kept[counter]
        return bool(self._unused)

    def _end(self, counter: Counter, lease: Lease) -> None:
        if lease.left:
            self._unused.append(Unused(counter, lease.lent, lease.left))
            lease.left = 0
