"""The filters of mail templates: values in words."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return how many: 1 vote, 2 votes, 1,200 votes."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def day(value: str) -> str:
    """Return a day in words, without a time of the day: 16 November 2026. Takes ISO 8601."""
    parsed = date.fromisoformat(value[:10])
    return f"{parsed.day} {parsed:%B %Y}"


def days(period: Mapping[str, str]) -> str:
    """Return a period's first and last day in words; one that begins and ends on the same day is that day alone."""
    first, last = day(period["from"]), day(period["to"])
    return first if first == last else f"{first} to {last}"


def points(change: int) -> str:
    """Return a change in percentage points: +12, −3."""
    return f"+{change}" if change > 0 else str(change).replace("-", "−")


FILTERS: dict[str, Callable[..., Any]] = {"counted": counted, "days": days, "points": points}
