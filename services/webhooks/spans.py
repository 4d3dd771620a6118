"""Spans of the log: its time is cut into pieces of five seconds, and what happens in one is told at once, once it is over.

So a storm of votes is one message a tool and span, and what a span says is a function of the log alone, whenever it is asked.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from asyncpg import Connection

from projections.registry import named

SECONDS: Final = 5
"""The length of a span. It is part of what a position says, so it never changes."""
STRIDE: Final = 5_000
"""Positions that a window holds at least, if there are as many; spans are never cut."""

BIN: Final = f"date_bin('{SECONDS} seconds', {{}}, 'epoch')"
"""The beginning of the span that a time is in."""

# A batch takes its time and its positions under the head's lock. So while we have it, all that is dated before our clock is
# visible, and nothing more will be. Appending waits for this one statement.
READ_CLOCK: Final = """
with locked as materialized (select 1 from log.head for share) select clock_timestamp() from locked
"""
# What a view that messages are made from hasn't taken in yet must wait, span by span.
READ_CLOSED: Final = named(f"""
with seen as (select least(h.position, v.position) as position from {{hours}}.checkpoint h, {{verdicts}}.checkpoint v),
next as (select (select e.recorded_at from log.at_position(s.position + 1) e) as at from seen s)
select log.position_at({BIN.format("least($1, n.at)")} - interval '1 microsecond') as position from next n
""")  # noqa: S608 - constants
READ_WINDOW: Final = f"""
with ends as (
    select (select e.recorded_at from log.at_position($1 + 1) e) as first,
           (select e.recorded_at from log.at_position(least($1 + $2, $3)) e) as last
),
bounds as (
    select {BIN.format("first")} as begins, {BIN.format("last")} + interval '{SECONDS} seconds' as ends from ends
),
spans as (
    select b.begins, log.position_at(b.begins - interval '1 microsecond') as after,
           least(log.position_at(b.ends - interval '1 microsecond'), $3) as until
    from bounds b
)
select s.after, s.until, s.begins, e.recorded_at as ended from spans s left join lateral log.at_position(s.until) e on true
"""  # noqa: S608


class Window(msgspec.Struct, frozen=True):
    """Whole spans: positions above `after` up to `until`, the first of them in the span that `begins` at a time.

    The last of them was recorded when it `ended`: of another history the same positions are another window.
    """

    after: int
    until: int
    begins: datetime
    ended: datetime | None = None


async def closed(connection: "Connection[Any]") -> int:
    """Return the last position of the spans that are over and that the views have taken in."""
    at = await connection.fetchval(READ_CLOCK)
    position: int = await connection.fetchval(READ_CLOSED, at)
    return position


async def window_after(connection: "Connection[Any]", position: int, closed: int) -> Window | None:
    """Return the spans to tell next after a position; None if there is none that is over."""
    if position >= closed:
        return None
    row = await connection.fetchrow(READ_WINDOW, position, STRIDE, closed)
    assert row is not None  # noqa: S101 - the statement returns one row
    return Window(**row)
