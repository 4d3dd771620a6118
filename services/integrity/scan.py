"""Scan the log for bought votes: judge each ten minutes once, in order, and keep the cohorts that are found.

Several scans at once do the work once, and one that was killed is done again: what a scan finds is written in one transaction
with how far it came. What is found depends on the log alone, and on the marks of networks.
"""

import logging
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from events.log import postgres
from projections.registry import named
from services.integrity import decisions
from services.integrity.marks import MarksOf, unmarked
from services.integrity.ticks import DAY, LATE, tick_of

if TYPE_CHECKING:
    from asyncpg import Connection

    from services.integrity.judging import Alarm

logger = logging.getLogger(__name__)

LOOKS_BACK: Final = 7 * DAY
"""Ticks; a first scan, or one after a long rest, begins so far back."""
AT_ONCE: Final = DAY // 4
"""Ticks that are judged in one transaction."""

_LOCK: Final = 0x696E746567  # any constant: the one that scans holds it
_TAKE: Final = "select pg_try_advisory_lock($1)"
_LEAVE: Final = "select pg_advisory_unlock($1)"

# How far the log is known: to now, or to the last event that the view has taken in, if it lags.
_SEEN: Final = named("""
select s.scanned_to, (select min(at) from {integrity}.ticks) as first, (select max(at) from {integrity}.ticks) as last,
       case when c.position >= h.position then now() else c.seen_at end as seen
from integrity.scans s cross join {integrity}.checkpoint c cross join log.head h
""")
_REST: Final = "update integrity.scans set scanned_at = now(), failed = null"
_FAILED: Final = "update integrity.scans set failed = $1"


class Scanned(msgspec.Struct, frozen=True):
    """What a scan did: until when the log is judged now, and how many cohorts were found or have changed."""

    until: datetime | None
    changed: int


async def silent(connection: "Connection[Any]", cohort: str) -> None:
    """Do nothing about a cohort but queue it."""


async def scan(
    dsn: str, false_alarms: float, marks: MarksOf = unmarked, *, alarm: "Alarm" = silent, seconds: float = 240.0
) -> Scanned | None:
    """Judge what has come since the last scan, for about `seconds` at most; None if another scan is at work.

    A failure is kept for the status, and raised.
    """
    connection = await decisions.connect(dsn)
    try:
        if not await connection.fetchval(_TAKE, _LOCK):
            return None
        try:
            return await _scan(connection, false_alarms, marks, alarm, monotonic() + seconds)
        except Exception as error:
            await _say_failed(connection, error)
            raise
        finally:
            await connection.fetchval(_LEAVE, _LOCK)
    finally:
        await connection.close(timeout=5)


async def _say_failed(connection: "Connection[Any]", error: Exception) -> None:
    with suppress(*postgres.FAILED):
        await connection.execute(_FAILED, f"{type(error).__name__}: {error}")


async def _scan(connection: "Connection[Any]", false_alarms: float, marks: MarksOf, alarm: "Alarm", deadline: float) -> Scanned:
    changed = 0
    while True:
        scanned_to, begin, end = await _due(connection)
        if begin >= end or monotonic() > deadline:
            await connection.execute(_REST)
            return Scanned(scanned_to, changed)
        from services.integrity.judging import judge  # it loads slowly, and most scans find nothing to judge

        changed += await judge(connection, scanned_to, begin, min(end, begin + AT_ONCE), false_alarms, marks, alarm)


async def _due(connection: "Connection[Any]") -> tuple[datetime | None, int, int]:
    """Return how far the log was scanned, and the ticks that are due: from, and before."""
    row = await connection.fetchrow(_SEEN)
    assert row is not None  # noqa: S101 - these tables have one row each
    if row["first"] is None or row["seen"] is None:
        return row["scanned_to"], 0, 0
    end = min(tick_of(row["seen"] - LATE), tick_of(row["last"]) + 1)
    begin = tick_of(row["first"] if row["scanned_to"] is None else row["scanned_to"])
    return row["scanned_to"], max(begin, end - LOOKS_BACK), end
