"""What templates may do to a value besides printing it."""

from collections.abc import Callable
from datetime import date
from typing import Any


def counted(number: int, noun: str) -> str:
    """Say how many: 1 vote, 2 votes, 1,200 votes."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def day(value: str) -> str:
    """Say a day, given as ISO 8601 (a time of the day is left out): 16 November 2026."""
    parsed = date.fromisoformat(value[:10])
    return f"{parsed.day} {parsed:%B %Y}"


def listed(values: list[str]) -> str:
    """Say several things in a row: a, b and c."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def points(change: int) -> str:
    """Say a change in percentage points: +12, −3."""
    return f"+{change}" if change > 0 else str(change).replace("-", "−")


FILTERS: dict[str, Callable[..., Any]] = {"counted": counted, "day": day, "listed": listed, "points": points}
