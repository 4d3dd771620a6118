"""The verdict that is right however often it is looked at, by a confidence sequence for the share of ship votes.

After s ships and k skips of n votes, E(p) = B(s+1, k+1) / (p^s (1−p)^k) is a mixture over a uniform prior (H. Robbins, Ann.
Math. Stat. 41, 1970; S. R. Howard et al., Ann. Stat. 49, 2021). By Ville's inequality E of the true share ever reaches 20 with
a chance of 5 % at most. So the interval is all p with E(p) < 20, or s ln(s/np) + k ln(k/n(1−p)) < `_reach`, where no large
numbers cancel.
"""

from functools import lru_cache
from math import exp, floor, log, log1p, pi, sqrt
from typing import Final, Literal

CommunityVerdict = Literal["ship", "skip", "mixed"]
Interval = tuple[float, float]
"""(low, high)"""

LEAST_EVIDENCE: Final = 20
"""The evidence against a share that puts it outside of the interval."""

_CLOSE: Final = 1e-9  # relative; Newton's next step would be its square
_MOST_STEPS: Final = 20
_REMEMBERED: Final = 8192


_ERRORS: Final = (
    0.0,
    0.08106146679532726,
    0.0413406959554093,
    0.02767792568499834,
    0.020790672103765093,
    0.016644691189821193,
    0.013876128823070748,
    0.01189670994589177,
    0.010411265261972096,
    0.009255462182712733,
    0.00833056343336287,
    0.007573675487951841,
    0.00694284010720953,
    0.006408994188004207,
    0.0059513701127588475,
    0.005554733551962801,
)
"""Of the numbers below 16, what Stirling's formula lacks."""


def _stirling_error(n: int) -> float:
    """Return what Stirling's formula lacks of ln n!, for positive n (C. Loader, Computing Binomial Probabilities, 2000)."""
    if n < len(_ERRORS):
        return _ERRORS[n]
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / n / n) / n / n) / n / n) / n / n) / n


def _reach(ship: int, skip: int) -> float:
    """Return how far from their share the votes let the true one be, in units of the deviance above."""
    total = ship + skip
    reach = log(LEAST_EVIDENCE * (total + 1))
    if ship and skip:
        errors = _stirling_error(total) - _stirling_error(ship) - _stirling_error(skip)
        reach += errors + log(total / (2 * pi * ship * skip)) / 2
    return reach


def lower_bound(ship: int, skip: int) -> float:
    """Return the lower end of the interval, 0–1; there must be votes. It is -`log.settled_place`, operation by operation.

    Newton's method in ln p, from the bound that the normal distribution would give.
    """
    total = ship + skip
    if not ship:
        return 0.0
    if not skip:
        return float((LEAST_EVIDENCE * (total + 1)) ** (-1 / total))
    reach = _reach(ship, skip)
    p = (ship + reach - sqrt(reach * (reach + 2 * ship * skip / total))) / (total + 2 * reach)
    for _ in range(_MOST_STEPS):
        left = ship * log(ship / (total * p)) + skip * log(skip / (total * (1 - p))) - reach
        step = left * (1 - p) / (ship - total * p)
        p *= exp(step)
        if abs(step) < _CLOSE:
            break
    return p


def bounds(ship: int, skip: int) -> Interval:
    """Return both ends of the interval in percent; there must be votes."""
    return 100 * lower_bound(ship, skip), 100 * (1 - lower_bound(skip, ship))


@lru_cache(_REMEMBERED)
def settled_interval(ship: int, skip: int) -> Interval | None:
    """Return the interval in percent with one decimal, the lower end rounded down, the upper up; None without votes.

    A count below zero, which an event that was let pass can leave, settles nothing; the database says the same.
    """
    if min(ship, skip) < 0 or not ship + skip:
        return None
    return floor(1000 * lower_bound(ship, skip)) / 10, (1000 - floor(1000 * lower_bound(skip, ship))) / 10


@lru_cache(_REMEMBERED)
def settled(ship: int, skip: int) -> CommunityVerdict | None:
    """Return the side of 50 % that the whole interval lies on, "mixed" if it lies within 40–60 %, else None."""
    if min(ship, skip) < 0:
        return None
    if ship != skip and _excludes(ship, skip, 1, 1):
        return "ship" if ship > skip else "skip"
    within = 2 * ship < 3 * skip and 2 * skip < 3 * ship
    return "mixed" if within and _excludes(ship, skip, 2, 3) and _excludes(ship, skip, 3, 2) else None


def _excludes(ship: int, skip: int, a: int, b: int) -> bool:
    """Return whether the share a / (a + b) is outside of the interval; unrounded, also where there are no votes."""
    total, off = ship + skip, b * ship - a * skip
    deviance = (ship and ship * log1p(off / (a * total))) + (skip and skip * log1p(-off / (b * total)))
    return deviance >= _reach(ship, skip)
