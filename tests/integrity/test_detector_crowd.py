"""What tells bought votes from an honest crowd, as arithmetic: one recipe against a mixture, a stop against an end."""

import math

import numpy as np
import pytest

from services.integrity import detector_chance as chance
from services.integrity import detector_crowd as crowd
from services.integrity.detector_crowd import Sides, Usual
from services.integrity.detector_evidence import LEAST_BOUGHT, Cell, Pool, Votes, weigh

USUAL = Usual(0.72, 0.55, 0.3)
"""A site most of whose voters are new, about half of them for one tool alone."""


def alike(*kinds: int, expected: float = 0.5, compared: bool = False) -> float:
    """Return how much rather voters of these kinds were hired."""
    return crowd.alike(np.array(kinds), USUAL, expected, compared=compared)


@pytest.mark.parametrize("x", [1e-6, 0.3, 1.0, 7.5, 900.0, 1e6])
def test_the_logarithm_of_gamma_is_that_of_the_library(x: float) -> None:
    """Of arrays it is right to ten digits."""
    assert chance.log_gamma(np.array([x]))[0] == pytest.approx(math.lgamma(x), rel=1e-10, abs=1e-10)


def test_votes_of_one_recipe_are_unlike_a_crowd() -> None:
    """Thirty who are all old, all new and for this tool alone, or all new and with others, look hired; a mixture doesn't."""
    assert alike(0, 0, 30, 0) > 5 and alike(0, 0, 0, 30) > 5 and alike(0, 30, 0, 0) > 5
    assert alike(30, 0, 0, 0) > 1
    assert alike(19, 6, 3, 2) < 0 and alike(12, 10, 3, 5) < 0


def test_recipes_show_beside_the_tools_usual_voters() -> None:
    """Of sixty votes, where thirty are usual, thirty of one kind beside the usual mixture look hired."""
    usual = np.round(30 * USUAL.kinds).astype(int)
    assert alike(*(usual + np.array([0, 0, 30, 0])), expected=30.0) > 3
    assert alike(*(2 * usual), expected=30.0) < 0


def test_who_came_by_way_of_another_tool_is_no_recipe() -> None:
    """A crowd at one tool goes on to what that is compared with: there all of them have voted for two."""
    assert alike(0, 30, 0, 0, compared=True) < 1 < alike(0, 30, 0, 0)
    assert alike(0, 0, 30, 0, compared=True) > 5, "an aged visitor with one tool came by no other"


def test_friends_who_agree_are_a_crowd_and_those_without_a_doubt_are_hired() -> None:
    """Of a maker's 200 friends ten disagree: so would a crowd. Where 200 more bring nobody else along, no crowd would."""
    friends = Sides(votes=201, other=10, expected=1.0, other_expected=0.4, other_size=1.0)
    hired = Sides(votes=201, other=0, expected=1.0, other_expected=0.4, other_size=1.0)
    assert crowd.unlike_a_crowd(friends, 0.7) < 0
    assert crowd.unlike_a_crowd(hired, 0.7) > 2


def test_a_crowd_lingers_and_a_job_stops() -> None:
    """Forty votes that end in the third quarter of an hour and leave the fourth empty stopped; those that thin out didn't."""
    stopped = np.linspace(1800, 2690, 40)
    thinning = np.concatenate([np.linspace(1800, 2690, 30), np.linspace(2700, 3590, 10)])
    assert crowd.abruptness(stopped, 0, 3600, 0.5) > 1
    assert crowd.abruptness(thinning, 0, 3600, 0.5) == 0
    assert crowd.abruptness(np.array([]), 0, 3600, 0.5) == 0


def weight_of(votes: int, *, young: float, mark: int | None) -> tuple[float, float]:
    """Weigh so many votes of an hour on a quiet tool; give how much rather they were bought, and the chance of as much."""
    random = np.random.default_rng(1)
    number = 400
    pool = Pool(random.random(number) < 0.72, random.random(number) < 0.5, random.integers(0, 5_000, number))
    ages = np.where(np.arange(votes) < votes * young, 1.0, 1e6)
    marks = random.integers(0, 5_000, votes) if mark is None else np.full(votes, mark)
    seen = Votes(np.sort(random.uniform(0, 3600, votes)), ages, np.arange(votes) % 3 > 0, marks, [[]] * votes)
    day = Sides(votes, 1, 2.0, 0.9, 2.0)
    cell = Cell(votes, 0, 0.1, 0.2, 0.04, 0.1, day, 0.7, 20.0, 0.0, 3600.0, 7)
    weight = weigh(cell, seen, pool, {})
    return weight.bought, weight.p


def test_colleagues_are_a_group_whatever_their_one_network() -> None:
    """Ten of one office in an hour, old and new, are a rare group of people, and no find among the cells of a tick."""
    assert weight_of(10, young=0.7, mark=9)[1] > 1e-7


def test_forty_old_visitors_of_as_many_networks_are_found() -> None:
    """Networks and spacing tell nothing of them; that a quiet tool drew old visitors alone does."""
    bought, p = weight_of(40, young=0.0, mark=None)
    assert bought > LEAST_BOUGHT and p < 1e-10
