"""Read tallies of the past: days and hours from the tables, the rest of one hour from the log, never beyond the checkpoint.

Counted is what the site showed then. Corrected leaves out voters disqualified as of the checkpoint.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from events import quarantine
from events.log.reads import Reads
from projections.registry import named

Every = Literal["hour", "day", "week"]


class Tally(msgspec.Struct, frozen=True):
    """A tally as of a position of the log."""

    ship: int
    skip: int
    position: int


# One statement, so one snapshot. In the hour of the time, the changes before it are added to the hours before, or the changes
# after it are taken from the hours up to its end: whichever are fewer positions. Without a time ($2), all hours count.
_AT_TIME = """
select log.position_at(t.time) as position, date_trunc('hour', t.time, 'UTC') as hour
from (select coalesce($2::timestamptz, 'infinity') as time) t
"""
_AT_POSITION = """
select t.position, date_trunc('hour', t.at, 'UTC') as hour
from (select $2::bigint as position, log.time_of($2) as at) t where t.at is not null
"""
_TALLY = """
with asked as (
    select t.hour, least(t.position, c.position) as position,
           least(log.position_at(t.hour - interval '1 microsecond'), c.position) as begun,
           least(log.position_at(t.hour + interval '1 hour' - interval '1 microsecond'), c.position) as ended
    from {hours}.checkpoint c cross join ({asked}) t
),
side as materialized (
    select a.position, 1 as sign, a.begun as low, a.position as high, a.hour as until
    from asked a where a.position - a.begun <= a.ended - a.position
    union all
    select a.position, -1, a.position, a.ended, a.hour + interval '1 hour'
    from asked a where a.position - a.begun > a.ended - a.position
),
hours as (
    select coalesce(sum(case when $3 then p.corrected_ship else p.ship end), 0) as ship,
           coalesce(sum(case when $3 then p.corrected_skip else p.skip end), 0) as skip
    from (select s.until, (s.until at time zone 'UTC')::date as day from side s) s
    cross join lateral (
        select d.ship, d.skip, d.corrected_ship, d.corrected_skip from {hours}.daily_over d where d.tool = $1 and d.day < s.day
        union all
        select h.ship, h.skip, h.corrected_ship, h.corrected_skip
        from {hours}.hours_over h where h.tool = $1 and h.day = s.day and h.hour < s.until
        union all
        select l.ship, l.skip, l.corrected_ship, l.corrected_skip
        from {hours}.last_hours l where l.tool = $1 and l.hour < s.until
    ) p
),
changes as (
    select t.plus, t.minus
    from side s
    cross join lateral (
        select c.position, c.type, c.voter, c.plus, c.minus from log.changes_taken(s.low, s.high) c where c.tool = $1
        offset 0 -- keeps this a look between two positions; joined freely, the planner may read a whole part of the log
    ) t
    where (not $3 or t.type in ('VoteCast', 'VoteRetracted')
                     and not exists (select from {hours}.disqualified d where d.voter = t.voter))
      and t.position not in (select (d.data->>'position')::bigint from log.of_stream($4) d
                             where d.type = 'EventDropped')
)
select s.position,
       (h.ship + s.sign * (select count(*) filter (where plus = 'ship') - count(*) filter (where minus = 'ship') from changes)
       )::bigint as ship,
       (h.skip + s.sign * (select count(*) filter (where plus = 'skip') - count(*) filter (where minus = 'skip') from changes)
       )::bigint as skip
from side s cross join hours h
"""
AS_OF = named(_TALLY.replace("{asked}", _AT_TIME))
AT = named(_TALLY.replace("{asked}", _AT_POSITION))

# The changes of each period; the row without a period sums up everything before the first.
_BY_HOUR = named("""
select case when h.hour >= $2 then date_trunc($4, h.hour, 'UTC') end as period,
       sum(case when $5 then h.corrected_ship else h.ship end)::bigint as ship,
       sum(case when $5 then h.corrected_skip else h.skip end)::bigint as skip
from {hours}.hours h
where h.tool = $1 and h.hour < $3
group by period
""")
_BY_DAY = named("""
select case when d.day >= ($2::timestamptz at time zone 'UTC')::date
            then date_trunc($4, d.day::timestamp at time zone 'UTC', 'UTC') end as period,
       sum(case when $5 then d.corrected_ship else d.ship end)::bigint as ship,
       sum(case when $5 then d.corrected_skip else d.skip end)::bigint as skip
from {hours}.daily d
where d.tool = $1 and d.day < ($3::timestamptz at time zone 'UTC')::date
group by period
""")


async def as_of(pool: Reads, tool: str, time: datetime | None, *, corrected: bool) -> Tally:
    """Return a tool's tally at a time; without one, as of the checkpoint."""
    row = await pool.fetchrow(AS_OF, tool, time, corrected, quarantine.stream("hours"))
    assert row is not None  # noqa: S101 - the checkpoint has one row
    return Tally(row["ship"], row["skip"], row["position"])


async def at(pool: Reads, tool: str, position: int, *, corrected: bool = False) -> Tally | None:
    """Return a tool's tally at a position, counted or corrected; None for a position that the log doesn't have.

    It is as of the checkpoint, and says so, where that is before the position.
    """
    row = await pool.fetchrow(AT, tool, position, corrected, quarantine.stream("hours"))
    return None if row is None else Tally(row["ship"], row["skip"], row["position"])


async def changes(
    pool: Reads, tool: str, start: datetime, end: datetime, every: Every, *, corrected: bool
) -> Mapping[datetime | None, tuple[int, int]]:
    """Return the changes of (ship, skip) in each period with votes, by its beginning; under None all before `start`.

    `start` and `end` are beginnings of periods; weeks begin on Monday (ISO 8601).
    """
    rows = await pool.fetch(_BY_HOUR if every == "hour" else _BY_DAY, tool, start, end, every, corrected)
    return {row["period"]: (row["ship"], row["skip"]) for row in rows}
