"""What a tally says: percent, Wilson interval, verdict, and how many voters would turn it."""

from math import sqrt
from typing import Literal

import msgspec

# The 97.5 % point of the normal distribution: two-sided 95 %.
_Z = 1.959963984540054

CommunityVerdict = Literal["ship", "skip", "mixed"]


class Community(msgspec.Struct, frozen=True):
    """The community's tally of one tool. Percentages of 0–100; `interval` is Wilson's 95 % with one decimal."""

    ship: int
    skip: int
    total: int
    ship_percent: int | None
    verdict: CommunityVerdict | None
    interval: tuple[float, float] | None
    provisional: bool
    flips_to_change: int | None


def percent(part: int, total: int) -> int | None:
    """Give a whole percentage, halves rounded up; None of nothing."""
    return (200 * part + total) // (2 * total) if total else None


def wilson(ship: int, total: int) -> tuple[float, float]:
    """Give the bounds, in percent, of the score interval at 95 % (E. B. Wilson, JASA 22, 1927); total must be positive."""
    p, zz = ship / total, _Z * _Z
    centre = (p + zz / (2 * total)) / (1 + zz / total)
    margin = _Z / (1 + zz / total) * sqrt(p * (1 - p) / total + zz / (4 * total * total))
    return 100 * max(0.0, centre - margin), 100 * min(1.0, centre + margin)


def community(ship: int, skip: int) -> Community:
    """Say what a tally says. The verdict goes by the unrounded bounds; None is "too early to call"."""
    total = ship + skip
    if not total:
        return Community(0, 0, 0, None, None, None, True, None)
    low, high = wilson(ship, total)
    verdict: CommunityVerdict | None = None
    if low > 50:
        verdict = "ship"
    elif high < 50:
        verdict = "skip"
    elif low >= 40 and high <= 60:
        verdict = "mixed"
    return Community(
        ship=ship,
        skip=skip,
        total=total,
        ship_percent=percent(ship, total),
        verdict=verdict,
        interval=(round(low, 1), round(high, 1)),
        provisional=verdict is None,
        flips_to_change=abs(ship - skip) // 2 + 1,
    )
