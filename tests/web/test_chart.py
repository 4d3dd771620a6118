"""The words of a trend's chart."""

from datetime import UTC, datetime, timedelta

from services.web.chart import DayTally, trend

FIRST = datetime(2026, 10, 28, tzinfo=UTC)


def days(*tallies: tuple[int, int]) -> list[DayTally]:
    return [DayTally(FIRST + timedelta(days=n), *tally) for n, tally in enumerate(tallies)]


def test_a_single_day_is_named_once() -> None:
    """Votes of one day alone have a line and a caption of that day; of several days, the first and the last are named."""
    one, two = trend(days((0, 0), (0, 0), (2, 1))), trend(days((0, 0), (1, 0), (2, 1)))
    assert one is not None and two is not None
    assert one.summary.startswith("On 30 October: 67% ship of 3 votes.")
    assert two.summary.startswith("From 29 October to 30 October: now 67% ship of 3 votes.")
    assert one.line.count("L") == 1
