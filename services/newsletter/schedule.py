"""The weekly schedule of issues: a day and hour in a time zone, with daylight saving, and what a change of it does. Pure.

A period ends at a due time. It is kept as it was due, so a new schedule begins with its own next time and changes nothing that
was due before. Two due times are never nearer than half a week, nor farther than a week and a half.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from services.setting_groups import Newsletter

LATE_AFTER: Final = timedelta(hours=24)
"""An issue later than this waits for an operator, or for the next scheduled time."""
_WEEK: Final = timedelta(days=7)
_HALF_WEEK: Final = _WEEK / 2


class Period(msgspec.Struct, frozen=True):
    """The end of a period; `month` is the month it counts for, `monthly` whether it is the first that does."""

    due_at: datetime
    month: date
    monthly: bool


class Schedule(msgspec.Struct, frozen=True):
    """A weekly time: `day` from Monday, 0; `hour` of the day in `zone`."""

    day: int
    hour: int
    zone: str

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone."""
        return zone_of(self.zone)

    def last(self, at: datetime) -> datetime:
        """Return the last scheduled time at or before `at`, in UTC."""
        return self._on(self._day_before(at))

    def next(self, at: datetime) -> datetime:
        """Return the first scheduled time after `at`, in UTC."""
        return self._on(self._day_before(at) + _WEEK)

    def period(self, due_at: datetime, last: Period | None) -> Period:
        """Return the period that ends at a scheduled time, after an earlier period."""
        day = self._day_before(due_at)
        month = day.replace(day=1)
        return Period(due_at, month, day.day <= 7 if last is None else month > last.month)

    def first_after(self, at: datetime, last: Period | None) -> datetime:
        """Return the first scheduled time after `at` that is half a week or more after an earlier period's."""
        found = self.next(at)
        while last is not None and found < last.due_at + _HALF_WEEK:
            found = self.next(found)
        return found

    def _day_before(self, at: datetime) -> date:
        """Return the day of the last scheduled time at or before `at`; where clocks skip, that time may be on the day after."""
        local = at.astimezone(self.tzinfo)
        day = local.date() - timedelta(days=(local.weekday() - self.day) % 7)
        return day if self._on(day) <= at else day - _WEEK

    def _on(self, day: date) -> datetime:
        # An hour that the clocks skip is read as the same span after midnight, one that comes twice as its first (PEP 495).
        return datetime.combine(day, time(self.hour), self.tzinfo).astimezone(UTC)


class Course(msgspec.Struct, frozen=True):
    """The schedule that is followed, the end of the running period, and the period before it."""

    schedule: Schedule
    next_due: datetime
    last: Period | None

    @property
    def coming(self) -> Period:
        """The running period."""
        return self.schedule.period(self.next_due, self.last)


def begin(schedule: Schedule, since: datetime, at: datetime, last: Period | None) -> tuple[Course, Sequence[Period]]:
    """Begin to follow a schedule; return the course, and the period that has ended since `since`, if there is one."""
    due = schedule.last(at)
    ended: list[Period] = []
    if due > since and (last is None or due >= last.due_at + _HALF_WEEK):
        last = schedule.period(due, last)
        ended.append(last)
    return Course(schedule, schedule.first_after(at, last), last), ended


def follow(course: Course, schedule: Schedule, at: datetime) -> tuple[Course, Sequence[Period]]:
    """Follow a course until `at`, and another schedule from then on; return the course, and the periods that have ended.

    A running period that would become longer than a week and a half ends as it was to end.
    """
    ended: list[Period] = []
    while course.next_due <= at:
        if course.last is None or course.next_due > course.last.due_at:  # else it was served early, and is kept already
            ended.append(course.coming)
            course = replace(course, last=course.coming)
        course = replace(course, next_due=course.schedule.next(course.next_due))
    first = schedule.first_after(at, course.last)
    if course.schedule == schedule or (course.last is not None and first > course.last.due_at + _WEEK + _HALF_WEEK):
        return course, ended
    return replace(course, schedule=schedule, next_due=first), ended


def zone_of(name: str) -> tzinfo:
    """Return a time zone; UTC needs no database of zones."""
    return UTC if name == "UTC" else ZoneInfo(name)


def schedule_of(newsletter: Newsletter) -> Schedule:
    """Return the schedule that the settings name."""
    return Schedule(newsletter.day, newsletter.hour, newsletter.zone)
