"""Charts as SVG: a tally over time with its Wilson band, and plain lines for operators. Geometry only; the template draws.

Across, places are percent of the width, and upwards pixels: so lines stretch with the window, and words keep their size.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from projections.tally import wilson
from services.web.filters import count

HEIGHT: Final = 220
_TOP: Final = 12
_BOTTOM: Final = 28


class Tick(msgspec.Struct, frozen=True):
    """A labelled point on an axis: in percent of the width, or in pixels from the top."""

    at: float
    label: str


class Trend(msgspec.Struct, frozen=True):
    """A chart of a tally: its line and band as paths, ticks, and the last point."""

    line: str
    band: str
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
    voted = [(n, point) for n, point in enumerate(points) if point.ship + point.skip > 0]
    if not voted or len(points) < 2:
        return None
    shares = [(n, point, *_bounds(point)) for n, point in voted]
    line = [(_x(n, len(points)), _y(100 * p.ship / (p.ship + p.skip))) for n, p, _, _ in shares]
    if len(line) == 1:  # one day alone is no line: begin it half a day earlier
        line = [(line[0][0] - (_x(1, len(points)) - _x(0, len(points))) / 2, line[0][1]), *line]
    above = [(x, _y(high)) for (x, _), (_, _, _, high) in zip(line[-len(shares) :], shares, strict=True)]
    below = [(x, _y(low)) for (x, _), (_, _, low, _) in zip(line[-len(shares) :], shares, strict=True)]
    if len(shares) == 1:
        above, below = [(line[0][0], above[0][1]), *above], [(line[0][0], below[0][1]), *below]
    return Trend(
        line=_path(line),
        band=f"{_path(above)} L{_path(below[::-1])[1:]} Z",
        days=_days(points),
        percents=[Tick(_y(percent), f"{percent}%") for percent in (0, 25, 50, 75, 100)],
        last=line[-1],
        summary=_summary(voted[0][1], voted[-1][1]),
    )


def _bounds(point: DayTally) -> tuple[float, float]:
    return wilson(point.ship, point.ship + point.skip)


def _summary(first: DayTally, last: DayTally) -> str:
    low, high = _bounds(last)
    total = last.ship + last.skip
    return (
        f"From {first.at:%-d %B} to {last.at:%-d %B}: now {100 * last.ship / total:.0f}% ship of {count(total, 'vote')}, "
        f"95% interval {low:.0f} to {high:.0f}%."
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
