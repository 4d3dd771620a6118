"""Weigh one cell by its voters: is it odd at all, and would an honest crowd look like this?

A crowd that comes from a forum or a maker's mail is odd too: all at once, new here, for one tool. What tells bought votes from
it is what a crowd does not do: agree wholly, vote for this one tool and leave, keep time, share a network, vote in step.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from math import log
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.integrity.detector_chance import (
    Floats,
    Ints,
    evenness,
    excess,
    extrapolated,
    tail,
    together,
)
from services.integrity.detector_crowd import Sides, Usual, abruptness, alike, sameness, unlike_a_crowd

Flags = NDArray[np.bool_]

LEAST_BOUGHT: Final = 5.0
"""Nats. Fixed on worlds that no result is reported of (`make bench ARGS=integrity`)."""
DRAWS: Final = 499
MOST_VOTES: Final = 200
"""Of a larger cell so many voters are looked at, evenly picked."""
YOUNG_SECONDS: Final = 600
UNMARKED: Final = -1

_FEWEST_EVEN: Final = 8
_STEADY: Final = 200.0
"""A tool's share is as steady from day to day as that of so many votes."""
_SEVERAL: Final = 3
_RARE: Final = 0.01
_GROUPS: Final = 0.05
_ONE_MORE: Final = 0.55
"""So many votes begin a group of people who know each other, and so often its last voter is followed by another one."""
_EACH_MORE: Final = 0.6
"""Nats for each further voter of a group: ln(1 / `_ONE_MORE`)."""
_SOME: Final = 0.3
_OF_ANY_GROUP: Final = ("youth", "narrowness", "sameness", "regularity")
_OF_ONE_GROUP: Final = ("one_sidedness", "networks", "lockstep")
_LOOKS: Final = 3.0
"""A crowd is looked at over and over while it lasts, so it is even for a moment: ln 20."""


class Votes(NamedTuple):
    """The votes of a cell: seconds since 1970, their voters' ages in seconds, whether for this tool alone, and networks.

    `shared` are for each vote the other tools that its voter voted for within minutes.
    """

    times: Floats
    ages: Floats
    alone: Flags
    marks: Ints
    shared: Sequence[Sequence[str]]

    @property
    def is_shared(self) -> bool:
        """Return whether some two other tools have several of these voters."""
        counts = Counter(pair for tools in self.shared for pair in pairs(tools))
        return max(counts.values(), default=0) >= _SEVERAL

    @property
    def is_compared(self) -> bool:
        """Return whether a third of those who voted for others too share one of them."""
        shared = [tools for tools in self.shared if tools]
        counts = Counter(tool for tools in shared for tool in set(tools))
        return max(counts.values(), default=0) > len(shared) / 3


class Pool(NamedTuple):
    """What the site's voters of a day are like, by some of their votes."""

    young: Flags
    alone: Flags
    marks: Ints


class Cell(NamedTuple):
    """A screened cell: its votes and the other choice's, what was expected of both and how surely, and its time in seconds."""

    votes: int
    other: int
    expected: float
    size: float
    other_expected: float
    other_size: float
    day: Sides
    share: float
    burst: float
    begins: float
    ends: float
    seed: int


class Weight(NamedTuple):
    """The scores of a cell, the probability that chance does as much, and how much rather it was bought than an honest crowd.

    What a crowd explains as well is not looked at further: its probability is 1.
    """

    scores: dict[str, float]
    p: float
    bought: float


def weigh(cell: Cell, votes: Votes, pool: Pool, usually_shared: Mapping[str, float]) -> Weight:
    """Return the weight of a cell; `usually_shared` is the share of the tool's earlier voters that share two other tools."""
    usual, young = usual_of(pool), votes.ages < YOUNG_SECONDS
    kinds = np.array([(young & votes.alone).sum(), (young & ~votes.alone).sum(), (~young & votes.alone).sum(), 0])
    kinds[3] = len(young) - kinds.sum()
    youth, narrowness = _of_visitors(kinds, usual)
    scores = {
        "youth": float(youth),
        "narrowness": float(narrowness),
        "sameness": float(sameness(kinds, usual)),
        "one_sidedness": float(_one_sided(cell.votes, cell.votes + cell.other, cell.share)),
        "regularity": float(evenness(np.diff(np.sort(votes.times)))) if len(votes.times) >= _FEWEST_EVEN else 0.0,
        "networks": _networks(votes.marks, pool.marks),
        "lockstep": _lockstep(votes.shared, usually_shared),
        "abruptness": abruptness(votes.times, cell.begins, cell.ends, cell.expected),
    }
    expected = cell.expected * len(young) / max(1, cell.votes)
    bought, p = _bought(cell, scores) + alike(kinds, usual, expected, compared=votes.is_compared), 1.0
    if bought >= LEAST_BOUGHT:
        p = _by_chance(cell, len(votes.times), usual, scores)
    return Weight({"burst": cell.burst, **scores}, p, bought)


def _by_chance(cell: Cell, number: int, usual: Usual, scores: Mapping[str, float]) -> float:
    """Return the probability of such votes of single voters, or of a group beside them: people who know each other.

    A group is of one mind, and often of one network: of its votes these say no more than that it is one.
    """
    single, drawn = _drawn(cell, number, usual)
    of_group = sum(scores[name] for name in _OF_ANY_GROUP)
    many = float(tail(cell.votes, cell.expected, cell.size)) if cell.burst else 1.0
    one_by_one = together(many, extrapolated(of_group + sum(scores[name] for name in _OF_ONE_GROUP), single + drawn))
    group = min(1.0, _GROUPS * cell.expected * _ONE_MORE ** (cell.votes - cell.expected - 1)) if cell.burst else 1.0
    return min(1.0, one_by_one + together(float(group), extrapolated(of_group, drawn)))


def usual_of(pool: Pool) -> Usual:
    """Return the shares in a pool, leaning on a half each."""
    young, others = pool.young.sum(), (~pool.young).sum()
    return Usual(
        float((young + 1) / (len(pool.young) + 2)),
        float(((pool.young & pool.alone).sum() + 2) / (young + 4)),
        float((~pool.young & pool.alone).sum() + 2) / (others + 4),
    )


def _of_visitors(kinds: Ints, usual: Usual) -> tuple[Floats, Floats]:
    """Return the scores of youth and narrowness, of counts: the young for one tool alone, other young, others alone, others."""
    young_alone, young_more, alone, more = np.moveaxis(kinds, -1, 0)
    young, others = young_alone + young_more, alone + more
    narrow = excess(young_alone, young, usual.young_alone) + excess(alone, others, usual.others_alone)
    return excess(young, young + others, usual.young), narrow


def _one_sided(votes: Any, total: int, share: float) -> Floats:
    """Return the excess over a share that is not quite steady: beyond many votes, more of them say little more."""
    weight = (_STEADY + 1) / (_STEADY + total)
    return excess(votes * weight, total * weight, share)


def _networks(marks: Ints, usual: Ints) -> float:
    """Return how much likelier the largest group of one network is than by the site's share of that network."""
    known, usual = marks[marks != UNMARKED], usual[usual != UNMARKED]
    if len(known) < 2:
        return 0.0
    networks, counts = np.unique(known, return_counts=True)
    shares = (np.array([(usual == network).sum() for network in networks]) + 0.5) / (len(usual) + 50)
    scores = np.minimum(excess(counts, len(known), shares), _EACH_MORE * (counts - 1)) - log(len(counts))
    return float(np.maximum(scores, 0.0).sum())


def _lockstep(shared: Sequence[Sequence[str]], usually: Mapping[str, float]) -> float:
    """Return how much likelier the two tools that most voters share are than by the tool's earlier voters (after CopyCatch).

    One tool that many share is a comparison; two others are a list that somebody was given.
    """
    counts = Counter(pair for tools in shared for pair in pairs(tools))
    known = [(pair, count) for pair, count in counts.items() if count >= _SEVERAL]
    usual = np.array([usually.get(pair, _RARE) for pair, _ in known])
    number = np.array([count for _, count in known])
    return _capped(excess(number, len(shared), usual), number) if known else 0.0


def _capped(scores: Floats, counts: Ints) -> float:
    """Return the largest score, less the tries. People come in groups too: each one more is no great surprise."""
    return max(0.0, float(np.minimum(scores, _EACH_MORE * (counts - 1)).max()) - log(len(counts)))


def pairs(tools: Sequence[str]) -> Iterable[str]:
    """Return the pairs of some tools, each as one name."""
    return map(" ".join, combinations(sorted(set(tools)), 2))


def _drawn(cell: Cell, number: int, usual: Usual) -> tuple[Floats, Floats]:
    """Return the sums of scores that chance gives to so many votes: voters of the site's day, at times of no pattern.

    The first are of what a group has for being one, the second of all else.
    """
    random = np.random.default_rng(cell.seed)
    kinds = random.multinomial(number, usual.kinds, DRAWS)
    sums = sum(_of_visitors(kinds, usual), sameness(kinds, usual))
    share = random.beta(_STEADY * cell.share, _STEADY * (1 - cell.share), DRAWS)
    total = cell.votes + cell.other
    single = _one_sided(random.binomial(total, share), total, cell.share)
    if number >= _FEWEST_EVEN:
        sums = sums + random.permutation(_even_by_chance(number))
    # Of the two others, a deviance less the logarithm of the tries reaches x with a chance of exp(-x) at most (Chernoff).
    for _ in range(2):
        single = single + random.exponential(1.0, DRAWS) * (random.random(DRAWS) < _SOME)
    return single, sums


@lru_cache(MOST_VOTES + 1)
def _even_by_chance(number: int) -> Floats:
    return evenness(np.random.default_rng(number).exponential(1.0, (DRAWS, number - 1)))


def _bought(cell: Cell, scores: Mapping[str, float]) -> float:
    """Return how much rather votes were bought, by all but their kinds, than a crowd's of its own mind.

    Where a day is at hand it has a say on the sides too: a few minutes of a crowd may be of one mind.
    """
    moment = Sides(cell.votes, cell.other, cell.expected, cell.other_expected, cell.other_size)
    sides = min(unlike_a_crowd(moment, cell.share), unlike_a_crowd(cell.day, cell.share))
    return sides + max(0.0, scores["regularity"] - _LOOKS) + scores["networks"] + scores["lockstep"] + scores["abruptness"]
