"""A trend's chart: what it says, and that it says something at three votes and at thirty thousand."""

import re
from datetime import UTC, datetime, timedelta

from services.web.chart import HEIGHT, DayTally, Share, Trend, trend

FIRST = datetime(2026, 10, 28, tzinfo=UTC)


def days(*tallies: tuple[int, int]) -> list[DayTally]:
    return [DayTally(FIRST + timedelta(days=n), *tally) for n, tally in enumerate(tallies)]


def grown(ship: int, skip: int) -> Trend:
    """Return the chart of a tally that grew evenly for a month."""
    found = trend(days(*((ship * n // 30, skip * n // 30) for n in range(1, 31))))
    assert found is not None
    return found


def share(found: Trend) -> Share:
    assert found.share is not None and found.counts is None
    return found.share


def heights(path: str) -> list[float]:
    """Return the heights of a path's points."""
    return [float(y) for y in re.findall(r"[ML ][\d.]+ (-?[\d.]+)", path)]


def test_a_single_day_is_named_once() -> None:
    """Votes of one day alone have a line and a caption of that day; of several days, the first and the last are named."""
    one, two = trend(days((0, 0), (0, 0), (20, 10))), trend(days((0, 0), (10, 0), (20, 10)))
    assert one is not None and two is not None
    assert one.summary.startswith("On 30 October: 67% ship of 30 votes.")
    assert two.summary.startswith("From 29 October to 30 October: now 67% ship of 30 votes.")
    assert share(one).line.count("L") == 1


def test_few_votes_are_counted() -> None:
    """Three votes are no percent and no line: ships rise from zero and skips hang from it, on a scale of whole votes."""
    found = trend(days((0, 0), (1, 0), (2, 1)))
    assert found is not None and found.counts is not None and found.share is None
    assert found.summary == "From 29 October to 30 October: now 2 of 3 votes ship. Too early to call."
    assert [tick.label for tick in found.ticks] == ["1", "0", "1", "2", "3"]
    assert "%" not in found.summary
    assert all(f"V{HEIGHT * height / 4:g}" in found.counts.ships for height in (3, 2, 1))
    assert f"V{HEIGHT:g}" in found.counts.skips


def test_no_vote_draws_nothing() -> None:
    """Without votes, or with a single day, there is no chart."""
    assert trend(days((0, 0), (0, 0))) is None
    assert trend(days((3, 0))) is None


def test_a_band_can_be_seen_however_many_vote() -> None:
    """From ten votes to a million, the settled band takes between five percent and all of the chart's height."""
    for ship, skip in ((6, 4), (20, 10), (200, 100), (18_600, 11_400), (500_000, 500_000)):
        found = share(grown(ship, skip))
        ends = [y for x, y in re.findall(r"(?<=[ML ])([\d.]+) (-?[\d.]+)", found.settled) if x == "100"]
        low, high = max(map(float, ends)), min(map(float, ends))
        assert HEIGHT / 20 < low - high <= HEIGHT, (ship, skip)
        assert 0 <= found.last - 12 <= HEIGHT


def test_a_scale_that_is_cut_says_so_and_holds_the_line() -> None:
    """Thirty thousand votes show ten percent of the scale, in whole steps, with today's point inside."""
    found = grown(18_600, 11_400)
    assert share(found).scale == "56% to 66%"
    assert [tick.label for tick in found.ticks] == ["56%", "58%", "60%", "62%", "64%", "66%"]
    assert share(grown(6, 4)).scale == ""
    assert grown(1_000_000, 0).ticks[-1].label == "100%"
    assert grown(0, 1_000_000).ticks[0].label == "0%"
    assert "settled interval 60.9 to 63.1%" in found.summary
