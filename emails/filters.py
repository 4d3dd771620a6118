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
    """Return a period's first and last day in words; a month or year of both is said once: 16 to 22 November 2026."""
    first, last = (date.fromisoformat(period[end][:10]) for end in ("from", "to"))
    if first == last:
        return day(period["to"])
    if first.year != last.year:
        return f"{day(period['from'])} to {day(period['to'])}"
    return f"{first.day if first.month == last.month else f'{first.day} {first:%B}'} to {day(period['to'])}"


def points(change: int) -> str:
    """Return a change in percentage points: +12, −3."""
    return f"+{change}" if change > 0 else str(change).replace("-", "−")


FILTERS: dict[str, Callable[..., Any]] = {"counted": counted, "days": days, "points": points}
