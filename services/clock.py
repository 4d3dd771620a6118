"""The one place that reads the wall clock; everything else is given a clock."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock that others are given
