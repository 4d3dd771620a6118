"""When issues are due: the weekly hour in its zone, through clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.newsletter.schedule import Schedule

MONDAY = Schedule(0, 9, "UTC")
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
    assert MONDAY.is_months_first(utc(2026, 12, 7, 9))
    assert not MONDAY.is_months_first(utc(2026, 12, 14, 9))
    early = Schedule(0, 0, "Asia/Tokyo")
    due = early.next(utc(2027, 1, 31))
    assert (due, early.is_months_first(due)) == (utc(2027, 1, 31, 15), True)
