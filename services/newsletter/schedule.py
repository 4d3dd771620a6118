"""The weekly schedule of issues: a day and hour in a time zone, with daylight saving. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec

from services.settings import Newsletter

LATE_AFTER = timedelta(hours=24)
"""An issue later than this waits for an operator."""


class Schedule(msgspec.Struct, frozen=True):
    """A weekly time: `day` from Monday, 0; `hour` of the day in `zone`."""

    day: int
    hour: int
    zone: str

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone; UTC needs no database of zones."""
        return UTC if self.zone == "UTC" else ZoneInfo(self.zone)

    def last(self, at: datetime) -> datetime:
        """Return the last scheduled time at or before `at`, in UTC."""
        local = at.astimezone(self.tzinfo)
        day = local.date() - timedelta(days=(local.weekday() - self.day) % 7)
        found = self._on(day)
        return found if found <= at else self._on(day - timedelta(days=7))

    def next(self, at: datetime) -> datetime:
        """Return the first scheduled time after `at`, in UTC."""
        return self._on(self.last(at).astimezone(self.tzinfo).date() + timedelta(days=7))

    def is_months_first(self, due: datetime) -> bool:
        """Return whether a scheduled time is its month's first."""
        return due.astimezone(self.tzinfo).day <= 7

    def _on(self, day: date) -> datetime:
        # An hour that the clocks skip is read as the same span after midnight, one that comes twice as its first (PEP 495).
        return datetime.combine(day, time(self.hour), self.tzinfo).astimezone(UTC)


def schedule_of(newsletter: Newsletter) -> Schedule:
    """Return the schedule that the settings name."""
    return Schedule(newsletter.day, newsletter.hour, newsletter.zone)
