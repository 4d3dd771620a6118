"""Charts as SVG: a tally over time with its two bands, and plain lines for operators. Geometry only; the template draws.

Across, places are percent of the width, and upwards pixels: so lines stretch with the window, and words keep their size.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from projections import settled
from projections.comparison import verdict_line
from projections.tally import community, wilson
from services.web.filters import count

HEIGHT: Final = 220
_TOP: Final = 12
_BOTTOM: Final = 28


class Tick(msgspec.Struct, frozen=True):
    """A labelled point on an axis: in percent of the width, or in pixels from the top."""

    at: float
    label: str


class Trend(msgspec.Struct, frozen=True):
    """A chart of a tally: its line, Wilson's band and the settled one as paths, ticks, and the last point."""

    line: str
    band: str
    settled: str
    days: Sequence[Tick]
    percents: Sequence[Tick]
    last: tuple[float, float]
    summary: str


class DayTally(msgspec.Struct, frozen=True):
    """A tally at the end of the day that begins `at`."""

    at: datetime
    ship: int
    skip: int


def trend(points: Sequence[DayTally]) -> Trend | None:
    """Return the chart of the share of ship votes over time; None without votes or with fewer than two points."""
    voted = [(_x(n, len(points)), point) for n, point in enumerate(points) if point.ship + point.skip > 0]
    if not voted or len(points) < 2:
        return None
    if len(voted) == 1:  # one day alone is no line: begin it half a day earlier
        [(x, point)] = voted
        voted = [(x - _x(1, len(points)) / 2, point), (x, point)]
    line = [(x, _y(100 * point.ship / (point.ship + point.skip))) for x, point in voted]
    return Trend(
        line=_path(line),
        band=_band(voted, _wilson),
        settled=_band(voted, settled.bounds),
        days=_days(points),
        percents=[Tick(_y(percent), f"{percent}%") for percent in (0, 25, 50, 75, 100)],
        last=line[-1],
        summary=_summary(voted[0][1], voted[-1][1]),
    )


def _wilson(ship: int, skip: int) -> tuple[float, float]:
    return wilson(ship, ship + skip)


def _band(days: Sequence[tuple[float, DayTally]], bounds: Callable[[int, int], tuple[float, float]]) -> str:
    """Return the path around the bounds of each day's tally."""
    ends = [(x, *bounds(point.ship, point.skip)) for x, point in days]
    above, below = [(x, _y(high)) for x, _, high in ends], [(x, _y(low)) for x, low, _ in ends]
    return f"{_path(above)} L{_path(below[::-1])[1:]} Z"


def _summary(first: DayTally, last: DayTally) -> str:
    tally = community(last.ship, last.skip)
    (low, high), (lowest, highest) = _wilson(last.ship, last.skip), settled.bounds(last.ship, last.skip)
    days = f"On {last.at:%-d %B}: " if first is last else f"From {first.at:%-d %B} to {last.at:%-d %B}: now "
    return (
        f"{days}{100 * last.ship / tally.total:.0f}% ship of {count(tally.total, 'vote')}. {verdict_line(tally)}: 95% interval "
        f"{low:.0f} to {high:.0f}%, settled interval {lowest:.0f} to {highest:.0f}%."
    )


def _x(n: int, length: int) -> float:
    return round(100 * n / max(1, length - 1), 2)


def _y(percent: float) -> float:
    return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - percent / 100), 1)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in points)


def _days(points: Sequence[DayTally]) -> list[Tick]:
    step = max(1, (len(points) - 1) // 4)
    return [Tick(_x(n, len(points)), f"{points[n].at:%-d %b}") for n in range(0, len(points), step)]


def spark(values: Sequence[float], width: int = 240, height: int = 48) -> str:
    """Return a path that draws values as one line from left to right, the highest at the top."""
    top = max([*values, 1e-9])
    step = width / max(1, len(values) - 1)
    return _path([(round(step * n, 1), round(2 + (height - 4) * (1 - value / top), 1)) for n, value in enumerate(values)])
