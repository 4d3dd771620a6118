"""Ticks: the ten minutes by which votes are counted and judged."""

from datetime import UTC, datetime, timedelta
from typing import Final

TICK_SECONDS: Final = 600
DAY: Final = 144
LATE: Final = timedelta(minutes=10)
"""A voter has so long to vote for something else too, before its vote is judged."""


def tick_of(time: datetime) -> int:
    """Return the tick that a time is in."""
    return int(time.timestamp()) // TICK_SECONDS


def time_of(tick: int) -> datetime:
    """Return the time at which a tick begins."""
    return datetime.fromtimestamp(tick * TICK_SECONDS, UTC)
