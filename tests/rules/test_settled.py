"""Settled verdicts: how rarely they are wrong, and that each is the rule's, to the digit, however many votes there are."""

import random
from collections.abc import Callable
from decimal import Decimal, localcontext
from math import comb

import pytest

from projections.settled import lower_bound, settled, settled_interval
from projections.tally import community, verdict_of_a_look
from services.web.settled import ERRORS, VOTES_TO_A_VERDICT

Verdict = Callable[[int, int], str | None]

CLOSEST = [
    (195, 134), (1508, 1313), (2613, 2349), (10048, 9499), (185163, 182565), (348214, 344587), (2029963, 2020794),
    (4542608, 4528623), (5072138, 5057322), (9484767, 9464212),
]  # fmt: skip
"""Of the tallies up to 10 million votes a side, those whose ln E(1/2) is nearest to ln 20: the last one by 1.3e-10."""


def ever_wrong(verdict: Verdict, most: int) -> list[float]:
    """Give, by the number of votes, the share in percent of fair 50/50 tools that have ever shown a ship or a skip."""
    standing, wrong, shares = {0: 1.0}, 0.0, [0.0]  # by ships, the share of tools that have not
    for total in range(1, most + 1):
        moved = {ship: standing.get(ship, 0) / 2 + standing.get(ship - 1, 0) / 2 for ship in range(total + 1)}
        shown = {ship for ship, share in moved.items() if share and verdict(ship, total - ship) in ("ship", "skip")}
        wrong += sum(moved[ship] for ship in shown)
        standing = {ship: share for ship, share in moved.items() if share and ship not in shown}
        shares.append(round(100 * wrong, 1))
    return shares


@pytest.mark.parametrize(("name", "verdict"), [("so_far", verdict_of_a_look), ("settled", settled)])
def test_the_share_of_fair_tools_ever_called_is_the_table_that_the_page_shows(name: str, verdict: Verdict) -> None:
    """Looked at after every vote, a verdict so far is wrong for half of all fair tools at last; a settled one for 3.6 %."""
    shares = ever_wrong(verdict, max(row.votes for row in ERRORS))
    assert {row.votes: getattr(row, name) for row in ERRORS} == {row.votes: shares[row.votes] for row in ERRORS}


@pytest.mark.parametrize(("name", "verdict"), [("so_far", verdict_of_a_look), ("settled", settled)])
def test_bought_votes_to_a_verdict_are_the_table_that_the_page_shows(name: str, verdict: Verdict) -> None:
    """The number of unanimous votes that give a verdict on a tool whose honest votes are even."""
    for row in VOTES_TO_A_VERDICT:
        half = row.votes // 2
        needed = next(bought for bought in range(1, 1000) if verdict(half + bought, half) == "ship")
        assert getattr(row, name) == needed, row


def reaches(ship: int, skip: int, thousandths: int) -> bool:
    """Say whether E(thousandths / 1,000) is 20 or more, in whole numbers."""
    p, q = thousandths, 1000 - thousandths
    return 20 * (ship + skip + 1) * comb(ship + skip, ship) * p**ship * q**skip <= 1000 ** (ship + skip)


def tallies(most: int, count: int) -> list[tuple[int, int]]:
    """Draw tallies of up to so many votes on each side: of every size, lopsided ones, and near the lines at 40, 50 and 60 %."""
    draw = random.Random(5)
    found = []
    for _ in range(count):
        total = round(most ** draw.random())
        share = draw.choice([draw.random(), 0.5 + draw.gauss(0, 1.2) / total**0.5, draw.choice([0.4, 0.6]), 1 / total, 1])
        ship = min(total, max(0, round(total * share)))
        found.append((ship, total - ship) if draw.random() < 0.5 else (total - ship, ship))
    return found


def test_small_tallies_are_exact() -> None:
    """Each end, rounded outwards, is the last tenth of a percent outside; each verdict is right: by whole numbers alone."""
    drawn = [(ship, skip) for ship in range(14) for skip in range(14) if ship + skip] + tallies(2_000, 300)
    for ship, skip in drawn:
        interval = settled_interval(ship, skip)
        assert interval is not None
        low, high = (round(10 * end) for end in interval)
        assert low == 0 or reaches(ship, skip, low), (ship, skip)
        assert high == 1000 or reaches(ship, skip, high), (ship, skip)
        assert not reaches(ship, skip, low + 1) or 1000 * ship <= (low + 1) * (ship + skip), (ship, skip)
        assert not reaches(ship, skip, high - 1) or 1000 * ship >= (high - 1) * (ship + skip), (ship, skip)
        assert settled(ship, skip) == ruled(ship, skip), (ship, skip)


def ruled(ship: int, skip: int) -> str | None:
    """Give the verdict in whole numbers."""
    if ship != skip and reaches(ship, skip, 500):
        return "ship" if ship > skip else "skip"
    is_near = 2 * ship < 3 * skip and 2 * skip < 3 * ship
    return "mixed" if is_near and reaches(ship, skip, 400) and reaches(ship, skip, 600) else None


def ln_factorial(n: int) -> Decimal:
    """Give ln n! to forty digits, for large n: Stirling's series, whose next term is below them."""
    half_ln_two_pi = Decimal("0.91893853320467274178032973640561763986139747363778341")
    x = Decimal(n)
    terms = ((1, 12), (-1, 360), (1, 1260), (-1, 1680), (1, 1188), (-691, 360360), (1, 156))
    series = sum((Decimal(a) / b / x ** (2 * i + 1) for i, (a, b) in enumerate(terms)), Decimal(0))
    return (x + Decimal("0.5")) * x.ln() - x + half_ln_two_pi + series


def ln_e(ship: int, skip: int, p: Decimal) -> Decimal:
    """Give ln E(p) to forty digits."""
    beta = ln_factorial(ship) + ln_factorial(skip) - ln_factorial(ship + skip + 1)
    return beta - ship * p.ln() - skip * (1 - p).ln()


def test_millions_of_votes_are_exact() -> None:
    """Up to 10 million votes on each side, a lower end is right to thirteen digits, and each verdict at 50 % as well."""
    draw = random.Random(3)
    with localcontext() as context:
        context.prec = 60
        line = Decimal(20).ln()
        for _ in range(60):
            skip = draw.randrange(10**5, 10**7)
            ship = skip + round(draw.uniform(5, 7.5) * skip**0.5)  # where verdicts at 50 % change
            assert (settled(ship, skip) == "ship") == (ln_e(ship, skip, Decimal("0.5")) >= line)
            assert (settled(skip, ship) == "skip") == (ln_e(skip, ship, Decimal("0.5")) >= line)
            end = Decimal(lower_bound(ship, skip))
            assert ln_e(ship, skip, end - Decimal("1e-13")) > line > ln_e(ship, skip, end + Decimal("1e-13"))


def test_the_closest_calls_up_to_ten_million_votes_are_right() -> None:
    """The tallies whose E(1/2) is nearest to 20, of all tallies up to that size, are called as forty digits call them."""
    with localcontext() as context:
        context.prec = 60
        for ship, skip in CLOSEST:
            assert (settled(ship, skip) == "ship") == (ln_e(ship, skip, Decimal("0.5")) >= Decimal(20).ln()), (ship, skip)


def test_no_votes_settle_nothing_and_one_nearly_nothing() -> None:
    """Without votes there is neither interval nor verdict; a single vote leaves nearly every share possible."""
    assert (settled(0, 0), settled_interval(0, 0)) == (None, None)
    assert (settled(1, 0), settled_interval(1, 0)) == (None, (2.5, 100.0))
    assert (settled(0, 1), settled_interval(0, 1)) == (None, (0.0, 97.5))
    assert [settled(n, 0) for n in (7, 8)] == [None, "ship"]


def test_ship_and_skip_are_treated_alike() -> None:
    """The tally turned round has its interval and verdict turned round."""
    turned = {"ship": "skip", "skip": "ship"}
    for ship, skip in tallies(10**7, 300):
        one, other = settled_interval(ship, skip), settled_interval(skip, ship)
        assert one is not None and other is not None
        assert one == (round(100 - other[1], 1), round(100 - other[0], 1))
        word = settled(ship, skip)
        assert settled(skip, ship) == (turned.get(word, word) if word else None)


def test_what_is_settled_is_never_against_a_single_look() -> None:
    """A settled ship is a ship at a single look too, and its interval lies around the other: it asks for more."""
    for ship, skip in tallies(10**6, 500):
        said = community(ship, skip)
        assert said.interval is not None and said.settled_interval is not None
        assert said.settled in (None, "mixed", said.verdict)
        assert said.settled != "mixed" or said.verdict is not None


@pytest.mark.parametrize("tally", [(0, -1), (-1, 0), (5, -2), (-2, 5), (1, -1)])
def test_a_count_below_zero_settles_nothing_and_breaks_nothing(tally: tuple[int, int]) -> None:
    """An event that was let pass can leave one: the numbers are shown as they are, without verdicts and intervals."""
    found = community(*tally)
    assert (found.ship, found.skip) == tally
    assert (found.verdict, found.interval, found.settled, found.settled_interval) == (None, None, None, None)
