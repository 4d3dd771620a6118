"""The detector of bought votes, as arithmetic: what it finds, what it lets be, and that it finds the same again."""

import math

import numpy as np
import pytest

from services.integrity import detector_chance as chance
from services.integrity.detector import Find, Merged, found, merge
from services.integrity.detector_counts import BASE_DAYS, Days, baseline
from services.integrity.detector_evidence import Weight
from services.integrity.effect import effect, places_of, without


def brute_tail(n: int, mean: float, size: float) -> float:
    """Return the tail of a negative binomial by its definition."""
    below = (math.exp(chance.log_negative_binomial(k, mean, size)) for k in range(n))
    return 1 - sum(below)


@pytest.mark.parametrize(("n", "mean", "size"), [(5, 2.0, 3.0), (12, 4.0, 1.0), (30, 20.0, 50.0)])
def test_the_tail_is_the_sum_of_what_is_beyond(n: int, mean: float, size: float) -> None:
    """The probability to reach a count is one less that of all smaller counts."""
    assert chance.tail(n, mean, size) == pytest.approx(brute_tail(n, mean, size), rel=1e-6)


def test_a_score_bounds_its_own_chance() -> None:
    """Chernoff: a surplus of x nats is reached with a chance of at most exp(-x)."""
    for n in range(3, 40):
        assert chance.tail(n, 2.0, 3.0) <= math.exp(-float(chance.surplus(n, 2.0, 3.0))) * (1 + 1e-9)


def test_finds_among_many_are_those_of_benjamini_and_hochberg() -> None:
    """Of 1,000 tests at a rate of 1 %, the third smallest passes at 3 in 100,000, and takes the others with it."""
    assert chance.discoveries(np.array([2.9e-5, 2.8e-5, 2.7e-5, 0.5]), 1000, 0.01) == 2.9e-5
    assert chance.discoveries(np.array([3.1e-5, 2.8e-5, 0.5]), 1000, 0.01) == 0.0
    assert chance.discoveries(np.array([]), 1000, 0.01) == 0.0


def test_a_script_keeps_time_and_people_do_not() -> None:
    """Even spacings score high, those of chance low, and those of people who come in groups nothing."""
    random = np.random.default_rng(1)
    even = 10 + random.uniform(-1, 1, 19)
    by_chance = random.exponential(10, (200, 19))
    groups = random.exponential(10, 19) * np.tile([0.05, 0.05, 3.0], 7)[:19]
    assert chance.evenness(even) > 30
    assert np.quantile(chance.evenness(by_chance), 0.95) < 4
    assert chance.evenness(groups) == 0


def test_a_flood_does_not_teach_the_baseline() -> None:
    """Six days of a flood among 28 change what a tool can be expected to get by less than a third."""
    random = np.random.default_rng(2)
    votes = random.poisson(np.tile([[[3.0, 1.0]]], (300, BASE_DAYS + 1, 1)))
    quiet = baseline(Days(0, votes.copy()), BASE_DAYS, BASE_DAYS).rate[7, 0, 0]
    votes[7, 4:10, 0] += 300
    flooded = baseline(Days(0, votes), BASE_DAYS, BASE_DAYS).rate[7, 0, 0]
    assert flooded == pytest.approx(quiet, rel=1 / 3)


def find(begin: int, end: int, total: float, name: str = "") -> Find:
    """Return a find."""
    return Find(
        id=name or f"{begin}-{end}", tool="t", choice="ship", span="1 hour", begin=begin, end=end, seen=end, votes=20,
        scores={"burst": total}, p=1e-9,
    )  # fmt: skip


def test_finds_that_overlap_are_one_cohort_with_the_first_name() -> None:
    """A brigade that goes on keeps its name, and is shown by the span in which it stands out most."""
    merged = Merged({})
    merge(merged, [find(10, 11, 20)])
    merge(merged, [find(6, 12, 30), find(11, 12, 5)])
    merge(merged, [find(7, 13, 25)])
    merge(merged, [find(20, 21, 9)])
    assert {name: (one.begin, one.end, one.seen) for name, one in merged.cohorts.items()} == {
        "10-11": (6, 12, 11),
        "20-21": (20, 21, 21),
    }


def test_a_longer_brigade_takes_its_parts_in() -> None:
    """Two cohorts whose whole stands out more than either become one."""
    merged = Merged({})
    merge(merged, [find(10, 11, 20)])
    merge(merged, [find(30, 31, 20)])
    merge(merged, [find(0, 40, 50)])
    assert list(merged.cohorts) == ["10-11"]
    assert merged.absorbed == {"30-31"}
    assert merged.changed == {"10-11"}


def test_what_an_honest_crowd_would_do_is_no_find() -> None:
    """Among the 2,000 cells of a tick, one in a million millions is a find, and one in a hundred none."""
    assert found([Weight({}, 1e-12, 20.0), Weight({}, 1.0, -3.0), Weight({}, 0.01, 20.0)], 2000) == [0]


def test_votes_whose_removal_nobody_would_see_stay_out_of_the_queue() -> None:
    """Of 20 votes, those on a tool of few matter, and settle or unsettle it; on one of very many they don't."""
    others = places_of([(1_000, 500), (20, 1)])
    few = effect((24, 4), without((24, 4), "ship", 20), others)
    assert few is not None and few.unsettles
    assert effect((900_000, 100_000), without((900_000, 100_000), "ship", 20), others) is None
