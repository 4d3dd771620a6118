"""Screen cells by their counts alone: a cell is a tool, a choice and a span that ends with a ten minutes just gone by.

What a cell is held against is its tool's share of the site's votes in the 28 days before, so the hours of the day and the
site's good days need no model. Days that don't fit the others are left out of it (after MIDAS-F, Bhatia et al., 2020), so that
a flood can't teach the baseline; of the same span in the four weeks before, what doesn't fit is left out too.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from services.integrity.detector_chance import Floats, Ints, excess, surplus
from services.integrity.ticks import DAY

SPANS: Final = {"10 minutes": 1, "1 hour": 6, "1 day": DAY, "1 week": 7 * DAY}
BASE_DAYS: Final = 28
CHOICES: Final = ("ship", "skip")

LEAST_VOTES: Final = 4
"""A cell of fewer votes is no cohort: `settled` is the defence there."""
LEAST_SCORE: Final = 10.0
"""Nats; below them no cell can pass among the thousands of a day."""
_ODD_DAY: Final = 6.0
_TRIMMED: Final = BASE_DAYS * 3 // 4
_OWN_WEEK: Final = 20.0
"""Expected votes from which on a tool's own weeks say more than its share."""
_CALM: Final = (0.6, 0.03)
"""By how much days scatter beyond Poisson's before the site's own days say it: of the mean, and of its square."""
_KEY: Final = 1 << 32


class Counts(NamedTuple):
    """The view's cells in order of tool and tick: votes, and votes of the young, by choice."""

    tool: Ints
    tick: Ints
    votes: Ints
    young: Ints


class Site(NamedTuple):
    """The site's votes in each tick from `first` on, and those of the young."""

    first: int
    votes: Ints
    young: Ints


class Days(NamedTuple):
    """Votes by tool, day from `first` on, and choice."""

    first: int
    votes: Ints


class Screened(NamedTuple):
    """Cells that counts alone make suspicious, a row each."""

    tool: Ints
    choice: Ints
    begin: Ints
    end: Ints
    span: Ints
    votes: Ints
    other: Ints
    expected: Floats
    size: Floats
    other_expected: Floats
    other_size: Floats
    share: Floats
    burst: Floats
    day_votes: Ints
    day_other: Ints
    day_expected: Floats
    day_other_expected: Floats
    day_other_size: Floats


class Baseline(NamedTuple):
    """For each tool, day and choice: the votes for each one of other tools, and how many say so. With the scatter of days."""

    first: int
    rate: Floats
    known: Floats
    scatter: Floats


def baseline(days: Days, since: int, until: int) -> Baseline:
    """Return what each tool can be expected to get on the days from `since` to `until`."""
    rates, known, scatters = [], [], []
    for day in range(since, until + 1):
        low, high = max(0, day - BASE_DAYS - days.first), max(0, day - days.first)
        rate, votes, scatter = _fit(days.votes[:, low:high].astype(float))
        rates.append(rate)
        known.append(votes)
        scatters.append(scatter)
    return Baseline(since, np.stack(rates, 1), np.stack(known, 1), np.array(scatters))


def _fit(votes: Floats) -> tuple[Floats, Floats, tuple[float, float]]:
    """Return the rate and known votes by tool and choice, and the scatter, of some days."""
    tools, days, _ = votes.shape
    if not days:
        return np.zeros((tools, 2)), np.zeros((tools, 2)), _CALM
    exposure = np.repeat((votes.sum((0, 2)) - votes.sum(2))[:, :, None], 2, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(np.where(exposure > 0, votes / exposure, 0.0), axis=1)[:, : max(1, _TRIMMED * days // BASE_DAYS)]
    rate = _ratio(np.take_along_axis(votes, order, 1), np.take_along_axis(exposure, order, 1), exposure)
    for _ in range(3):
        expected = rate[:, None] * exposure
        fits = surplus(votes, np.maximum(expected, 0.1), _size(expected, *_CALM)) < _ODD_DAY
        rate = _ratio(votes * fits, exposure * fits, exposure)
    return rate, (votes * fits).sum(1), _scatter(votes[fits], (rate[:, None] * exposure)[fits])


def _ratio(votes: Floats, exposure: Floats, all_exposure: Floats) -> Floats:
    """Return votes by exposure, with half a vote's worth of what tools get on average: nothing is impossible."""
    mean = max(votes.sum() / max(all_exposure.sum(), 1.0), 1e-12)
    ratio: Floats = (votes.sum(1) + 0.5) / (exposure.sum(1) + 0.5 / mean)
    return ratio


def _scatter(votes: Floats, expected: Floats) -> tuple[float, float]:
    """Return by how much votes scatter beyond Poisson's: a part of the mean, seen at small tools, and one of its square."""
    square = (votes - expected) ** 2
    small, large = (expected > 0.2) & (expected < 10), expected > 50
    of_mean = square[small].sum() / expected[small].sum() - 1 if small.sum() > 1000 else _CALM[0]
    of_square = _CALM[1]
    if large.sum() > 100:
        of_square = float(np.mean((square[large] - (1 + of_mean) * expected[large]) / expected[large] ** 2))
    return float(np.clip(of_mean, 0.3, 5.0)), float(np.clip(of_square, 0.005, 0.5))


def _size(expected: Floats, of_mean: Floats | float, of_square: Floats | float) -> Floats:
    """Return the size of the negative binomial that scatters so."""
    mu = np.maximum(expected, 1e-12)
    size: Floats = mu / (of_mean + of_square * mu)
    return size


class Screen:
    """Screens the cells that end in the ticks from `begin` to before `end`. Counts reach back as far as the view keeps them."""

    def __init__(self, counts: Counts, site: Site, days: Days, begin: int, end: int) -> None:
        self._counts, self._site = counts, site
        self._begin, self._end = begin, end
        self._keys = counts.tool * _KEY + counts.tick
        self._votes = _sums(counts.votes)
        self._young = _sums(counts.young)
        self._site_votes, self._site_young = _sums(site.votes), _sums(site.young)
        self._baseline = baseline(days, (begin - 7 * DAY) // DAY, end // DAY)

    def tests(self) -> Ints:
        """Return how many cells end in each tick."""
        live = (self._counts.tick >= self._begin) & (self._counts.tick < self._end)
        pairs = (self._counts.votes[live] > 0).sum(1)
        found: Ints = np.bincount(self._counts.tick[live] - self._begin, pairs, self._end - self._begin).astype(np.int64)
        return found * len(SPANS)

    def screened(self, explained: Ints) -> Screened:
        """Return the suspicious cells in order of their ends. `explained` has a row (tool, from, to) for each known cause."""
        parts = [self._look(choice, span, explained) for choice in range(2) for span in range(len(SPANS))]
        whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.lexsort((whole[4], whole[1], whole[0], whole[3]))
        return Screened(*(column[order] for column in whole))

    def _look(self, choice: int, span: int, explained: Ints) -> tuple[Any, ...]:
        counts = self._counts
        rows = np.nonzero((counts.votes[:, choice] > 0) & (counts.tick >= self._begin) & (counts.tick < self._end))[0]
        tool, end = counts.tool[rows], counts.tick[rows] + 1
        begin = end - list(SPANS.values())[span]
        votes = self._between(self._votes, tool, begin, end)
        rows = np.nonzero(votes[:, choice] >= LEAST_VOTES)[0]
        tool, begin, end, votes = tool[rows], begin[rows], end[rows], votes[rows]
        expected, size = self._expected(tool, begin, end, votes)
        mine, other = votes[:, choice], votes[:, 1 - choice]
        burst = surplus(mine, expected[:, choice], size[:, choice])
        burst[_covered(tool, begin, end, explained)] = 0.0
        share, young_share = self._share(tool, begin, choice), self._young_share(end)
        young = self._between(self._young, tool, begin, end)[:, choice]
        ages = np.maximum(excess(young, mine, young_share), excess(mine - young, mine, 1 - young_share))
        score = burst + ages + excess(mine, mine + other, share)
        columns: tuple[Any, ...] = (
            tool, np.full(len(tool), choice), begin, end, np.full(len(tool), span), mine, other, expected[:, choice],
            size[:, choice], expected[:, 1 - choice], size[:, 1 - choice], share, burst,
        )  # fmt: skip
        chosen = score >= LEAST_SCORE
        kept = tuple(column[chosen] for column in columns)
        return (*kept, *self._day(kept[0], np.minimum(kept[2], kept[3] - DAY), kept[3], choice))

    def _day(self, tool: Ints, begin: Ints, end: Ints, choice: int) -> tuple[Any, ...]:
        """Return the votes of the day that ends with each cell, or of the cell if that is longer, and what was expected."""
        votes = self._between(self._votes, tool, begin, end)
        expected, size = self._expected(tool, begin, end, votes)
        other = 1 - choice
        return votes[:, choice], votes[:, other], expected[:, choice], expected[:, other], size[:, other]

    def _between(self, sums: Ints, tool: Ints, begin: Ints, end: Ints) -> Ints:
        low, high = (np.searchsorted(self._keys, tool * _KEY + tick) for tick in (begin, end))
        found: Ints = sums[high] - sums[low]
        return found

    def _site_between(self, sums: Ints, begin: Ints, end: Ints) -> Ints:
        low, high = (np.clip(tick - self._site.first, 0, len(sums) - 1) for tick in (begin, end))
        found: Ints = sums[high] - sums[low]
        return found

    def _exposure(self, begin: Ints, end: Ints, votes: Ints) -> Floats:
        """Return the votes of all other tools."""
        others: Floats = np.maximum(self._site_between(self._site_votes, begin, end) - votes.sum(1), 0).astype(float)
        return others

    def _expected(self, tool: Ints, begin: Ints, end: Ints, votes: Ints) -> tuple[Floats, Floats]:
        """Return the expected votes of each choice, and the size of their negative binomial."""
        day = begin // DAY - self._baseline.first
        rate, known = self._baseline.rate[tool, day], self._baseline.known[tool, day]
        scatter = self._baseline.scatter[day]
        prior = _OWN_WEEK / rate
        seen, exposure = np.zeros_like(rate), np.zeros_like(rate)
        for week in range(1, 5):
            back = week * 7 * DAY
            own = self._between(self._votes, tool, begin - back, end - back).astype(float)
            others = self._exposure(begin - back, end - back, own)[:, None]
            fits = surplus(own, np.maximum(rate * others, 0.1), _size(rate * others, *_CALM)) < _ODD_DAY
            seen += own * fits
            exposure += others * fits
        fitted = (rate * prior + seen) / (prior + exposure)
        expected = fitted * self._exposure(begin, end, votes)[:, None]
        return expected, _size(expected, scatter[:, :1], scatter[:, 1:] + 1 / (known + 1))

    def _share(self, tool: Ints, begin: Ints, choice: int) -> Floats:
        """Return the share of the choice among the tool's votes in the 28 days before, leaning on the site's."""
        day = begin // DAY - self._baseline.first
        known = self._baseline.known[tool, day]
        usual = self._baseline.known.sum(0)[day] + 1
        share: Floats = (known[:, choice] + 10 * usual[:, choice] / usual.sum(1)) / (known.sum(1) + 10)
        return share

    def _young_share(self, end: Ints) -> Floats:
        """Return the share of the young among the site's votes of a day."""
        votes = self._site_between(self._site_votes, end - DAY, end)
        young = self._site_between(self._site_young, end - DAY, end)
        share: Floats = (young + 1) / (votes + 2)
        return share


def _sums(values: Ints) -> Ints:
    """Return the sums of all values before each place."""
    return np.concatenate([np.zeros((1, *values.shape[1:]), np.int64), np.cumsum(values, axis=0, dtype=np.int64)])


def _covered(tool: Ints, begin: Ints, end: Ints, explained: Ints) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which cells have a known cause that reaches into them."""
    covered = np.zeros(len(tool), bool)
    for named, since, until in explained[np.isin(explained[:, 0], tool)]:
        covered |= (tool == named) & (begin < until) & (end > since)
    return covered
