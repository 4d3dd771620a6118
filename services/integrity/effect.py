"""What the removal of votes would change: the gate before the queue, and its order."""

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from projections.settled import settled
from projections.tally import Tally, community, place

_SETTLED: Final = 100.0
_VERDICT: Final = 50.0
_A_PLACE: Final = 0.01


class Effect(msgspec.Struct, frozen=True):
    """How much a removal changes: points of the share, more for a verdict, most for a settled one, a little for a place."""

    value: float
    unsettles: bool


def effect(before: Tally, after: Tally, places: NDArray[np.float64]) -> Effect | None:
    """Return the effect of a removal among all tools' places in order; None if nobody would see it."""
    unsettles = settled(*before) != settled(*after)
    points = abs(_share(before) - _share(after))
    moved = abs(int(np.searchsorted(places, place(before))) - int(np.searchsorted(places, place(after))))
    turns = community(*before).verdict != community(*after).verdict
    if not (unsettles or turns or moved or points >= 1):
        return None
    return Effect(round(points + _SETTLED * unsettles + _VERDICT * turns + _A_PLACE * moved, 2), unsettles)


def _share(tally: Tally) -> float:
    return 100 * tally[0] / sum(tally) if sum(tally) else 50.0


def without(tally: Tally, choice: str, votes: int) -> Tally:
    """Return a tally without some votes of a choice."""
    ship, skip = tally
    return (max(0, ship - votes), skip) if choice == "ship" else (ship, max(0, skip - votes))


def places_of(tallies: Any) -> NDArray[np.float64]:
    """Return the places of tallies in order."""
    return np.sort(np.array([place(tally) for tally in tallies], float))
