"""Bought or a crowd: how much rather some voters were hired than that an honest crowd came, in nats.

A crowd is mixed: of the old and the new, of those who vote for this tool alone and those who look around, of both minds. Hired
votes are made by one recipe. Beside either, the tool's usual voters come as ever.
"""

from math import log
from typing import Any, Final, NamedTuple

import numpy as np

from services.integrity.detector_chance import (
    Floats,
    Ints,
    log_beta_binomial,
    log_dirichlet_multinomial,
    log_negative_binomial,
    log_others,
)

YOUNG_ALONE, YOUNG_MORE, OLD_ALONE, OLD_MORE = range(4)
"""Kinds of voters: made minutes before or not, and with this tool alone or with others too."""

_AGREEMENT: Final = 10.0
"""How alike the shares of honest crowds are: as alike as those of so many votes."""
_FRIENDS: Final = 0.9
"""A maker's friends and a tool's angry users agree so much; other crowds as the tool's own voters do."""
_NEWCOMERS: Final = (0.7, 0.18, 0.06, 0.06)
"""The kinds in a crowd from elsewhere; one of the site's own people is as its day."""
_COMPARED: Final = (0.02, 0.7, 0.02, 0.26)
"""The kinds in a crowd that came for another tool, and went on to what that is compared with."""
_MIXED: Final = 8.0
"""Crowds' kinds differ from one to another as samples of so many voters do."""
_BY_RECIPE: Final = 0.95
_EXACT: Final = 40.0
"""Of voters made by a recipe so many follow it, as exactly as samples of so many differ."""
_MOST_TERMS: Final = 100
_LINGERS: Final = (0.8, 3.2)
"""Of what came in two quarters of a cell, the part of the later one: a crowd that is over at its quickest still lingers."""
_STOPS: Final = (0.5, 19.5)
_BUSY: Final = 2.0
"""By day a tool's usual voters come so much quicker than on average, and go by night."""


class Usual(NamedTuple):
    """The shares of the site's voters of a day: the young, and who votes for one tool alone, of the young and of the others."""

    young: float
    young_alone: float
    others_alone: float

    @property
    def kinds(self) -> Floats:
        """Return the shares of the four kinds."""
        young, others = self.young, 1 - self.young
        alone, more = young * self.young_alone, young * (1 - self.young_alone)
        return np.array([alone, more, others * self.others_alone, others * (1 - self.others_alone)])


class Sides(NamedTuple):
    """The votes of a cell or of its day, the other choice's, and what was expected of both."""

    votes: int
    other: int
    expected: float
    other_expected: float
    other_size: float


def alike(kinds: Ints, usual: Usual, expected: float, *, compared: bool) -> float:
    """Return how much rather voters of these kinds came by a recipe than as a crowd, beside as many usual ones as expected.

    Where they share one other tool they were `compared`: that they are of those with others too is no recipe then.
    """
    hired = max(1 - expected / max(1, int(kinds.sum())), 0.05)
    base = usual.kinds
    crowds = np.array([base, _NEWCOMERS, *([_COMPARED] if compared else [])])
    exact, mixed = (size / hired**2 for size in (_EXACT, _MIXED))
    recipes = log_dirichlet_multinomial(kinds, exact * _beside(_recipes(usual, compared), base, hired))
    return float(_mean(recipes) - _mean(log_dirichlet_multinomial(kinds, mixed * _beside(crowds, base, hired))))


def sameness(kinds: Any, usual: Usual) -> Floats:
    """Return how much better the best recipe fits the kinds than the site's usual shares do, less the tries; at least 0."""
    gains = np.log(_recipes(usual, compared=False)) - np.log(usual.kinds)
    best: Floats = np.maximum((kinds @ gains.T).max(axis=-1) - log(len(gains)), 0.0)
    return best


def _recipes(usual: Usual, compared: bool) -> Floats:
    """Return the shares of the kinds by each recipe: all of a kind, or all young, or none of them."""
    base = usual.kinds
    pure = np.eye(4)[[YOUNG_ALONE, OLD_ALONE]] if compared else np.eye(4)
    young, old = base * (1, 1, 0, 0) / usual.young, base * (0, 0, 1, 1) / (1 - usual.young)
    return _BY_RECIPE * np.stack([*pure, young, old]) + (1 - _BY_RECIPE) * base


def _beside(some: Floats, base: Floats, part: float) -> Floats:
    mixed: Floats = part * some + (1 - part) * base
    return mixed


def unlike_a_crowd(seen: Sides, share: float) -> float:
    """Return how much rather the other choice's votes come as ever than, beside these, with a crowd."""
    crowd = max(1, round(seen.votes - seen.expected))
    step = 1 + seen.other // _MOST_TERMS
    come = np.arange(0, seen.other + 1, step)
    beside = log_negative_binomial(seen.other - come, seen.other_expected, seen.other_size) + log(step)
    with_it = beside + _mean([log_others(come, crowd, *minds) for minds in _minds(share)])
    as_ever = log_negative_binomial(seen.other, seen.other_expected, seen.other_size)
    return float(as_ever - np.logaddexp.reduce(with_it))


def abruptness(times: Floats, begin: float, end: float, expected: float) -> float:
    """Return how much rather votes came to a stop than lingered as crowds do, by the last two quarters of a cell."""
    quarter = (end - begin) / 4
    if not len(times) or times.min() >= end - quarter:
        return 0.0
    usual = _BUSY * expected / 4
    before = max(0.0, int(((times >= end - 2 * quarter) & (times < end - quarter)).sum()) - usual)
    after = int((times >= end - quarter).sum())
    lingers, stops = (log_beta_binomial(after, before + after, *shape) for shape in (_LINGERS, _STOPS))
    return max(0.0, float(np.logaddexp(stops, lingers)) - log(2) - float(lingers))


def _minds(share: float) -> list[tuple[float, float]]:
    return [(_AGREEMENT * one, _AGREEMENT * (1 - one)) for one in (share, max(share, _FRIENDS))]


def _mean(logs: Any) -> Any:
    """Return the logarithm of the mean of what has these logarithms."""
    return np.logaddexp.reduce(np.array(logs), axis=0) - log(len(logs))
