"""What this process has committed ahead of the view of cards: changes of tallies, kept until the view has them.

So what one of its visitors has voted, the next one's answer counts, though no card does yet. Each change counts once: a card at
a position has all up to there. Memory is bounded: of very many the oldest go, and until the view has passed those, answers do
without the others.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from events.ballots import VoteCast, VoteRetracted
from events.log.event import Recorded
from projections.engine.notify import Bell
from projections.tally import Tally, TallyChange, changes

MOST_CHANGES: Final = 50_000
"""Events that are kept, about 15 MB: minutes of a flood of votes with no projector."""

NOTHING: Final[Tally] = (0, 0)

Own = Sequence[tuple[int, Sequence[TallyChange]]]
"""Positions of a voter's own events, and how each changes tallies."""


class Ahead:
    """The changes that this process committed after a position, its `floor`: all of them."""

    __slots__ = ("_changes", "_floor", "_last", "_sums")

    def __init__(self) -> None:
        self._floor = 0
        self._last = 0
        self._changes: OrderedDict[int, Sequence[TallyChange]] = OrderedDict()
        self._sums: dict[str, Tally] = {}

    def take(self, events: Iterable[Recorded[Any]]) -> None:
        """Take in what was committed, in order.

        Positions that don't rise are of a log that went back, or of a commit told late: from there all begins anew.
        """
        for recorded in events:
            if recorded.position <= self._last:
                self.restart()
            self._last = max(self._last, recorded.position)
            if recorded.position > self._floor and (moved := changes(recorded.event)):
                self._changes[recorded.position] = moved
                self._add(moved, 1)
        while len(self._changes) > MOST_CHANGES:
            self._forget_first()

    def reach(self, position: int) -> None:
        """Forget what the view has, which is at a position."""
        while self._changes and next(iter(self._changes)) <= position:
            self._forget_first()
        self._floor = max(self._floor, position)

    def restart(self) -> None:
        """Forget everything: the log went back."""
        self._changes.clear()
        self._sums.clear()
        self._floor = max(self._floor, self._last)

    def since(self, tool: str, position: int, own: Own) -> Tally:
        """Return how a tool's (ship, skip) change after a position: by what was committed here, and by a voter's own events."""
        is_whole = position >= self._floor
        moved = [change for at, change in own if at > position and not (is_whole and at in self._changes)]
        if is_whole and position == self._floor:
            ship, skip = self._sums.get(tool, NOTHING)
        else:
            ship, skip = NOTHING
            moved += self._after(position) if is_whole else []
        for of, more_ship, more_skip in (change for some in moved for change in some):
            if of == tool:
                ship, skip = ship + more_ship, skip + more_skip
        return ship, skip

    def _after(self, position: int) -> list[Sequence[TallyChange]]:
        """Return the changes after a position that the view has reached and `reach` has not been told of: a few."""
        found = []
        for at in reversed(self._changes):
            if at <= position:
                break
            found.append(self._changes[at])
        return found

    def _forget_first(self) -> None:
        position, moved = self._changes.popitem(last=False)
        self._floor = position
        self._add(moved, -1)

    def _add(self, moved: Sequence[TallyChange], sign: int) -> None:
        for tool, ship, skip in moved:
            before = self._sums.get(tool, NOTHING)
            after = before[0] + sign * ship, before[1] + sign * skip
            if after == NOTHING:
                self._sums.pop(tool, None)
            else:
                self._sums[tool] = after


def telling(ahead: Ahead, bell: Bell) -> Callable[[Sequence[Recorded[Any]]], None]:
    """Return what takes in what was committed, and rings the bell of the log: views rest longer between ballots alone."""

    def committed(events: Sequence[Recorded[Any]]) -> None:
        ahead.take(events)
        if all(isinstance(recorded.event, VoteCast | VoteRetracted) for recorded in events):
            bell.ring()
        else:
            bell.hurry()

    return committed
