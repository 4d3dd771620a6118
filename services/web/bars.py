"""Bars as SVG: votes over time against what is usual, and shares side by side. Geometry only; the template draws.

Across, places are percent of the width, and upwards pixels, as in `chart`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from services.integrity.evidence import Bucket, Evidence, Share
from services.web.chart import Tick
from services.web.filters import count

HEIGHT: Final = 180
ROW: Final = 34
_TOP: Final = 8
_BOTTOM: Final = 26
_LABELS: Final = 28.0
"""Percent of the width for the words beside bars that lie."""


class Bar(msgspec.Struct, frozen=True):
    """An upright bar, and the height of the line of what is usual there, if that is known."""

    x: float
    width: float
    y: float
    height: float
    suspected: bool
    usual: float | None


class Histogram(msgspec.Struct, frozen=True):
    """Votes over time: bars, the ticks of both axes, and what it says in words."""

    bars: Sequence[Bar]
    times: Sequence[Tick]
    counts: Sequence[Tick]
    summary: str


class Row(msgspec.Struct, frozen=True):
    """Two bars that lie beneath each other: the cohort's share, and the usual one, in percent of the width."""

    y: float
    label: str
    width: float
    usual_width: float
    percent: float
    usual_percent: float


class Rows(msgspec.Struct, frozen=True):
    """Shares side by side."""

    rows: Sequence[Row]
    height: int
    left: float


def histogram(evidence: Evidence) -> Histogram | None:
    """Return the chart of a cohort's votes among all of the tool's and choice's; None if the counts are kept no more."""
    buckets = evidence.histogram
    if not buckets:
        return None
    top = max(4, *(bucket.votes for bucket in buckets), *(bucket.usual or 0 for bucket in buckets))
    step = 100 / len(buckets)
    bars = [
        Bar(
            x=round(n * step, 3),
            width=round(step * 0.8, 3),
            y=_y(one.votes, top),
            height=round(_y(0, top) - _y(one.votes, top), 1),
            suspected=one.suspected,
            usual=None if one.usual is None else _y(one.usual, top),
        )
        for n, one in enumerate(buckets)
    ]
    counts = [Tick(_y(value, top), f"{value:g}") for value in (0, top / 2, top)]
    return Histogram(bars, _times(buckets, step), counts, _said(evidence))


def rows(shares: Sequence[Share]) -> Rows:
    """Return the chart of some shares against the usual ones."""
    width = (100 - _LABELS) / 100 * 0.74  # room for the number at the end, on a phone too
    drawn = [
        Row(
            n * ROW,
            one.below,
            round(one.percent * width, 2),
            round(one.usual_percent * width, 2),
            one.percent,
            one.usual_percent,
        )
        for n, one in enumerate(shares)
    ]
    return Rows(drawn, ROW * len(shares), _LABELS)


def _y(value: float, top: float) -> float:
    return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - value / top), 1)


def _times(buckets: Sequence[Bucket], step: float) -> list[Tick]:
    every = max(1, len(buckets) // 3)
    long = buckets[1].at - buckets[0].at >= timedelta(hours=6)
    form = "%-d %b" if long else "%-d %b %H:%M"
    return [Tick(round(n * step, 2), f"{buckets[n].at:{form}}") for n in range(0, len(buckets) - every // 2, every)]


def _said(evidence: Evidence) -> str:
    inside = [bucket for bucket in evidence.histogram if bucket.suspected]
    votes, known = sum(bucket.votes for bucket in inside), [bucket.usual for bucket in inside if bucket.usual is not None]
    usual = f"; {sum(known):.1f} are usual then" if known else "; no earlier week is known"
    return f"{count(votes, 'vote')} in the suspected time{usual}."
