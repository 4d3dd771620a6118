"""When issues are due: the weekly hour in its zone, through clock changes."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.newsletter.schedule import Period, Schedule, begin, follow

MONDAY = Schedule(0, 9, "UTC")
WEEK, SECOND = timedelta(days=7), timedelta(seconds=1)
BERLIN = Schedule(0, 9, "Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def test_the_scheduled_moment_belongs_to_its_own_period() -> None:
    """At the hour itself the issue is due; a microsecond before, the last one was a week ago."""
    assert MONDAY.last(utc(2026, 11, 23, 9)) == utc(2026, 11, 23, 9)
    assert MONDAY.last(utc(2026, 11, 23, 9) - timedelta(microseconds=1)) == utc(2026, 11, 16, 9)
    assert MONDAY.next(utc(2026, 11, 23, 9)) == utc(2026, 11, 30, 9)


def test_it_is_nine_oclock_before_and_after_the_clocks_change() -> None:
    """In Berlin 9:00 is 8:00 UTC in winter and 7:00 in summer."""
    assert BERLIN.last(utc(2026, 3, 28)) == utc(2026, 3, 23, 8)
    assert BERLIN.next(utc(2026, 3, 28)) == utc(2026, 3, 30, 7)
    assert BERLIN.next(utc(2026, 10, 24)) == utc(2026, 10, 26, 8)


@pytest.mark.parametrize("hour", [1, 2, 3])
def test_an_hour_that_is_skipped_or_comes_twice_is_due_once(hour: int) -> None:
    """Over the Sundays on which clocks change there is one due time a week, in order."""
    sunday = Schedule(6, hour, "Europe/Berlin")
    for start in (utc(2026, 3, 20), utc(2026, 10, 16)):
        due = [start]
        for _ in range(3):
            due.append(sunday.next(due[-1]))
        gaps = [(later - earlier).total_seconds() / 3600 for earlier, later in pairwise(due[1:])]
        assert all(167 <= gap <= 169 for gap in gaps)
        assert all(sunday.last(one) == one for one in due[1:])


def test_every_minute_of_a_year_lies_in_one_period() -> None:
    """The last scheduled time is never in the future, the next never in the past, and a week lies between them."""
    at = utc(2026, 1, 1)
    while at < utc(2027, 1, 1):
        last, coming = BERLIN.last(at), BERLIN.next(at)
        assert last <= at < coming
        assert timedelta(days=7, hours=-1) <= coming - last <= timedelta(days=7, hours=1)
        at += timedelta(hours=5, minutes=13)


def test_the_months_first_issue_is_the_first_in_its_zone() -> None:
    """The monthly edition comes with the first scheduled time of the month, as the zone's calendar has it."""
    assert MONDAY.period(utc(2026, 12, 7, 9), None).monthly
    assert not MONDAY.period(utc(2026, 12, 14, 9), None).monthly
    early = Schedule(0, 0, "Asia/Tokyo")
    due = early.next(utc(2027, 1, 31))
    assert (due, early.period(due, None)) == (utc(2027, 1, 31, 15), Period(due, date(2027, 2, 1), True))


@pytest.fixture(scope="module")
def changes() -> list[tuple[str, datetime]]:
    """Every change of a clock in ten years, once for all zones that change alike."""
    found = {}
    months = [utc(2026 + n // 12, n % 12 + 1, 1) for n in range(121)]
    for zone in sorted(available_timezones()):
        tz = ZoneInfo(zone)
        offsets = [month.astimezone(tz).utcoffset() for month in months]
        found.setdefault(tuple(offsets), zone)
    return [
        (zone, change)
        for offsets, zone in found.items()
        for first, last, one, other in zip(months, months[1:], offsets, offsets[1:], strict=False)
        if one != other
        for change in [change_between(ZoneInfo(zone), first, last)]
    ]


def change_between(tz: ZoneInfo, begin: datetime, end: datetime) -> datetime:
    """Find when the clock changes."""
    offset = begin.astimezone(tz).utcoffset()
    while end - begin > timedelta(minutes=1):
        middle = begin + (end - begin) / 2
        begin, end = (middle, end) if middle.astimezone(tz).utcoffset() == offset else (begin, middle)
    return end


def test_every_change_of_every_clock_leaves_one_time_a_week(changes: list[tuple[str, datetime]]) -> None:
    """Around each change in ten years, in every zone, each hour is due once a week, in order, on its own day."""
    assert len({zone for zone, _ in changes}) > 20
    for zone, change in changes:
        day = change.astimezone(ZoneInfo(zone)).weekday()
        for schedule in [Schedule((day + near) % 7, hour, zone) for near in (-1, 0, 1) for hour in (0, 1, 2, 3, 12, 22, 23)]:
            due = [schedule.last(change - timedelta(days=8))]
            while len(due) < 4:
                due.append(schedule.next(due[-1]))
                assert schedule.last(due[-1]) == due[-1] and schedule.last(due[-1] - SECOND) == due[-2], (schedule, due)
            assert all(abs(later - earlier - WEEK) <= timedelta(hours=2) for earlier, later in pairwise(due)), (schedule, due)


SCHEDULES = st.builds(
    Schedule, st.integers(0, 6), st.integers(0, 23), st.sampled_from(sorted(available_timezones() - {"localtime"}))
)
# What passes between two ticks of a worker: minutes or days, an outage, or new settings.
STEPS = st.tuples(st.timedeltas(timedelta(minutes=1), timedelta(days=3)), st.none() | SCHEDULES)
OUTAGES = st.tuples(st.timedeltas(timedelta(days=3), timedelta(days=200)), st.none() | SCHEDULES)
STARTS = st.timedeltas(timedelta(0), timedelta(days=3652)).map(lambda passed: utc(2026, 1, 1) + passed)


def walk(schedule: Schedule, start: datetime, steps: list[tuple[timedelta, Schedule | None]]) -> list[tuple[datetime, Period]]:
    """Let a worker look after each step; give the periods as it found them, each with the time it did."""
    course, ended = begin(schedule, start, start, None)
    found = [(start, period) for period in ended]
    at = start
    for passed, changed in steps:
        at, schedule = at + passed, changed or schedule
        course, ended = follow(course, schedule, at)
        assert course.next_due > at
        found += [(at, period) for period in ended]
    return found


def check_months(periods: list[Period]) -> None:
    """Each month that has a period has one that is its first, but for the month in which all began."""
    first = {}
    for period in periods:
        first.setdefault(period.month, period)
    later, monthly = list(first.values())[1:], [period for period in periods if period.monthly]
    assert monthly[len(monthly) - len(later) :] == later
    assert sum(period.monthly for period in periods) in (len(first), len(first) - 1)


@given(SCHEDULES, STARTS, st.lists(STEPS | OUTAGES, min_size=1, max_size=40))
def test_whatever_is_changed_and_however_long_nobody_looks_each_period_ends_once(
    schedule: Schedule, start: datetime, steps: list[tuple[timedelta, Schedule | None]]
) -> None:
    """Periods end in order, none before its time, none within half a week of another, and each month has one first."""
    found = walk(schedule, start, steps)
    assert all(period.due_at <= at for at, period in found)
    assert all(later.due_at - earlier.due_at >= WEEK / 2 for (_, earlier), (_, later) in pairwise(found))
    if len(found) > 1:
        check_months([period for _, period in found])


@given(SCHEDULES, STARTS, st.lists(STEPS, min_size=10, max_size=60))
def test_no_change_leaves_readers_without_an_issue_for_long(
    schedule: Schedule, start: datetime, steps: list[tuple[timedelta, Schedule | None]]
) -> None:
    """While a worker runs, a period is never longer than a week and a half, however often the settings are changed."""
    found = [period.due_at for _, period in walk(schedule, start, steps)]
    assert all(later - earlier <= WEEK * 1.5 for earlier, later in pairwise(found))


@given(SCHEDULES, STARTS)
def test_unchanged_a_schedule_has_its_own_times(schedule: Schedule, start: datetime) -> None:
    """Over a year, its last week and its end included, the periods are the scheduled times and no others."""
    course, _ = begin(schedule, start, start, None)
    _, ended = follow(course, schedule, start + 53 * WEEK)
    due = [schedule.next(start)]
    while (following := schedule.next(due[-1])) <= start + 53 * WEEK:
        due.append(following)
    assert [period.due_at for period in ended] == due


@pytest.mark.parametrize(
    ("changed", "at", "due"),
    [
        (Schedule(0, 10, "UTC"), utc(2026, 11, 23, 9, 30), utc(2026, 11, 30, 10)),  # an hour later, just after
        (Schedule(0, 8, "UTC"), utc(2026, 11, 30, 8, 30), utc(2026, 11, 30, 9)),  # an hour earlier, just before
        (Schedule(0, 8, "UTC"), utc(2026, 11, 25), utc(2026, 11, 30, 8)),
        (Schedule(3, 9, "UTC"), utc(2026, 11, 24), utc(2026, 12, 3, 9)),  # a Thursday three days after is too near
        (Schedule(4, 9, "UTC"), utc(2026, 11, 24), utc(2026, 11, 27, 9)),
        (Schedule(0, 9, "America/New_York"), utc(2026, 11, 23, 12), utc(2026, 11, 30, 14)),
        (Schedule(0, 9, "Asia/Tokyo"), utc(2026, 11, 23, 12), utc(2026, 11, 30)),
    ],
)
def test_a_change_begins_with_its_next_time(changed: Schedule, at: datetime, due: datetime) -> None:
    """After Monday's issue of 23 November, the next is due as the new settings say, but not twice in half a week."""
    course, _ = begin(MONDAY, utc(2026, 11, 20), utc(2026, 11, 23, 9), None)
    assert follow(course, changed, at)[0].next_due == due
