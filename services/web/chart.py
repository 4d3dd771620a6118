"""Charts as SVG: a tally over time, and plain lines for operators. Geometry only; the template draws.

Across, places are percent of the width, and upwards pixels: so lines stretch with the window, and words keep their size.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from projections import settled
from projections.comparison import verdict_line
from projections.tally import community, wilson
from services.web.filters import FEW, standing

HEIGHT: Final = 180
"""Pixels from the highest place of a trend to its lowest; words stand outside."""
TOP: Final = 12

_SPANS: Final = {4: 1, 10: 2, 20: 5, 50: 10, 100: 25}
"""How much of 0–100 % a share's scale may show, each with the steps of its grid."""
_LEAST_TOP: Final = 3


class Tick(msgspec.Struct, frozen=True):
    """A labelled point on an axis: in percent of the width, or in pixels from the top."""

    at: float
    label: str


class Share(msgspec.Struct, frozen=True):
    """The share of ship votes: its line, Wilson's band and the settled one as paths, the last point's height, the scale.

    `scale` is the part of 0–100 % that is shown, in words; empty for all of it.
    """

    line: str
    band: str
    settled: str
    last: float
    scale: str


class Counts(msgspec.Struct, frozen=True):
    """Votes as areas in steps of one: ships above the line at zero, skips below it."""

    ships: str
    skips: str


class Trend(msgspec.Struct, frozen=True):
    """A tally over time: counts while votes are few, else the share; with its ticks, and what it says in words."""

    days: Sequence[Tick]
    ticks: Sequence[Tick]
    summary: str
    share: Share | None = None
    counts: Counts | None = None


class DayTally(msgspec.Struct, frozen=True):
    """A tally at the end of the day that begins `at`."""

    at: datetime
    ship: int
    skip: int

    @property
    def percent(self) -> float:
        """Return the share of ship votes in percent; there must be one vote."""
        return 100 * self.ship / (self.ship + self.skip)


Voted = Sequence[tuple[float, DayTally]]
"""The days with votes, each at its place in percent of the width."""


def trend(points: Sequence[DayTally]) -> Trend | None:
    """Return the chart of a tally over time; None without votes or with fewer than two points."""
    voted = [(_x(n, len(points)), point) for n, point in enumerate(points) if point.ship + point.skip > 0]
    if not voted or len(points) < 2:
        return None
    last = voted[-1][1]
    summary, days = _summary(voted[0][1], last), _days(points)
    if last.ship + last.skip < FEW:
        return _counts(points, days, summary)
    if len(voted) == 1:  # one day alone is no line: begin it half a day earlier
        [(x, point)] = voted
        voted = [(x - _x(1, len(points)) / 2, point), (x, point)]
    return _share(voted, days, summary)


def _counts(points: Sequence[DayTally], days: Sequence[Tick], summary: str) -> Trend:
    """Draw ships upwards and skips downwards from a line between them, all on one scale of whole votes."""
    up = max(_LEAST_TOP, *(point.ship for point in points))
    down = max(1, *(point.skip for point in points))
    unit = HEIGHT / (up + down)
    zero = up * unit
    ships = _steps([point.ship for point in points], zero, -unit)
    skips = _steps([point.skip for point in points], zero, unit)
    step = 1 if up + down <= 10 else 2
    ticks = [Tick(round(TOP + zero - n * unit, 1), str(abs(n))) for n in range(-down, up + 1) if n % step == 0]
    return Trend(days, ticks, summary, counts=Counts(ships, skips))


def _steps(values: Sequence[int], zero: float, unit: float) -> str:
    """Return the path around the area between the line at zero and values that change in steps."""
    steps = [f"V{round(zero + value * unit, 1):g} H{_x(n, len(values) + 1):g}" for n, value in enumerate(values, 1)]
    return f"M0 {zero:g} {' '.join(steps)} V{zero:g} Z"


def _share(voted: Voted, days: Sequence[Tick], summary: str) -> Trend:
    low, span = _scale(voted)

    def y(percent: float) -> float:
        return round(HEIGHT * (1 - (percent - low) / span), 1)

    line = [(x, y(point.percent)) for x, point in voted]
    return Trend(
        days,
        [Tick(TOP + y(percent), f"{percent}%") for percent in range(low, low + span + 1, _SPANS[span])],
        summary,
        share=Share(
            line=_path(line),
            band=_band(voted, _wilson, y),
            settled=_band(voted, settled.bounds, y),
            last=TOP + line[-1][1],
            scale="" if span == 100 else f"{low}% to {low + span}%",
        ),
    )


def _scale(voted: Voted) -> tuple[int, int]:
    """Return where a share's scale begins and how much it shows.

    It holds the line of the days that had at least half of today's votes, and today's settled band, which it shows in at most
    half of its height: so thirty votes and thirty thousand both have bands that can be seen.
    """
    today = voted[-1][1]
    recent = [point.percent for _, point in voted if 2 * (point.ship + point.skip) >= today.ship + today.skip]
    lowest, highest = settled.bounds(today.ship, today.skip)
    lowest, highest = min(lowest, *recent), max(highest, *recent)
    span = next((span for span in _SPANS if span >= 2 * (highest - lowest)), 100)
    step = _SPANS[span]
    low = round((lowest + highest - span) / 2 / step) * step
    return min(max(0, low), 100 - span), span


def _wilson(ship: int, skip: int) -> tuple[float, float]:
    return wilson(ship, ship + skip)


def _band(voted: Voted, bounds: Callable[[int, int], tuple[float, float]], y: Callable[[float], float]) -> str:
    """Return the path around the bounds of each day's tally."""
    ends = [(x, *bounds(point.ship, point.skip)) for x, point in voted]
    above, below = [(x, y(high)) for x, _, high in ends], [(x, y(low)) for x, low, _ in ends]
    return f"{_path(above)} L{_path(below[::-1])[1:]} Z"


def _summary(first: DayTally, last: DayTally) -> str:
    tally = community(last.ship, last.skip)
    days = f"On {last.at:%-d %B}: " if first is last else f"From {first.at:%-d %B} to {last.at:%-d %B}: now "
    if tally.total < FEW:
        return f"{days}{standing(tally)}. {verdict_line(tally)}."
    (low, high), (lowest, highest) = _wilson(last.ship, last.skip), settled.bounds(last.ship, last.skip)
    digits = 0 if high - low >= 5 else 1
    return (
        f"{days}{standing(tally)}. {verdict_line(tally)}: 95% interval {low:.{digits}f} to {high:.{digits}f}%, "
        f"settled interval {lowest:.{digits}f} to {highest:.{digits}f}%."
    )


def _x(n: int, length: int) -> float:
    return round(100 * n / max(1, length - 1), 2)


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
