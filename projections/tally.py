"""The arithmetic of tallies: percent, Wilson interval, verdict, votes to change it, and rank."""

from collections.abc import Mapping
from math import sqrt
from typing import Literal

import msgspec

# The 97.5 % point of the normal distribution: two-sided 95 %.
Z = 1.959963984540054

Tally = tuple[int, int]
"""(ship, skip)"""

CommunityVerdict = Literal["ship", "skip", "mixed"]


class Community(msgspec.Struct, frozen=True):
    """The community's tally of one tool. Percentages are 0–100; `interval` is Wilson's at 95 % with one decimal."""

    ship: int
    skip: int
    total: int
    ship_percent: int | None
    verdict: CommunityVerdict | None
    interval: tuple[float, float] | None
    provisional: bool
    flips_to_change: int | None


def percent(part: int, total: int) -> int | None:
    """Return a whole percentage, halves rounded up; None if `total` is 0."""
    return (200 * part + total) // (2 * total) if total else None


def wilson(ship: int, total: int) -> tuple[float, float]:
    """Return the bounds, in percent, of the score interval at 95 % (E. B. Wilson, JASA 22, 1927); total must be positive."""
    p, zz = ship / total, Z * Z
    centre = (p + zz / (2 * total)) / (1 + zz / total)
    margin = Z / (1 + zz / total) * sqrt(p * (1 - p) / total + zz / (4 * total * total))
    return 100 * max(0.0, centre - margin), 100 * min(1.0, centre + margin)


def community(ship: int, skip: int) -> Community:
    """Return a tally with its verdict, which goes by the unrounded bounds; None is "too early to call"."""
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


def ranks(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Rank tools, from 1: by the lower Wilson bound, tools without votes last, ties by slug."""
    return {slug: rank for rank, slug in enumerate(sorted(tallies, key=lambda slug: (_rank_key(tallies[slug]), slug)), 1)}


def _rank_key(tally: Tally) -> float:
    """Return the place by the community's votes, which rises: `log.community_place` of the database, operation by operation."""
    ship, skip = tally
    if ship + skip == 0:
        return 1.0
    zz = Z * Z
    return -(2 * ship + zz - Z * sqrt(zz + 4 * ship * skip / (ship + skip))) / (2 * (ship + skip + zz))
