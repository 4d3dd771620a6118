"""How a tally came about: every vote on a tool up to a position, and its fate.

Read from the log alone, in SQL, into a temporary table, so that a tool of a million votes takes no memory here.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from asyncpg import Connection

from events.log import ids
from projections.registry import named

Fate = Literal["counts", "changed", "retracted", "voided", "retracts", "disqualifies", "reinstates"]

# The first tool of a slug holds. The types are those of an index of the log.
FIND_TOOL = """
select data->>'tool' from log.recorded_events
where type in ('ToolAdded', 'ToolRenamed', 'FormerSlugAdded') and data->>'slug' = $1 order by position limit 1
"""

READ_SLUGS = """
select distinct on (stream) data->>'tool' as tool, data->>'slug' as slug from log.recorded_events
where stream = any($1::uuid[]) and type in ('ToolAdded', 'ToolRenamed')
order by stream, version desc
"""

FIRST_TYPE = "select type from log.recorded_events where stream = $1 order by version limit 1"

# The hours say where to look: in those in which the tool's tally changed, after the last event that they have taken in, and at
# what they passed over ($3). Or ($4) everywhere.
CHANGES = named("""
with looked_at as materialized (
    select h.first_position - 1 as low, h.last_position as high from {hours}.hours h where h.tool = $1 and not $4
    union all
    select case when $4 then 0 else c.position end, $2 from {hours}.checkpoint c
    union all
    select p - 1, p from unnest($3::bigint[]) as p
)
select distinct on (c.position) c.position, c.recorded_at, c.type, c.voter, c.plus, c.minus
from looked_at l
cross join lateral (
    select t.position, t.recorded_at, t.type, t.voter, t.plus, t.minus
    from log.changes_taken(l.low, least(l.high, $2::bigint)) t where t.tool = $1
    offset 0 -- keeps this a look-up of each range; joined freely, the planner would read the whole log
) c
order by c.position
""")

# A vote counts unless its voter voted again, retracted it, or is disqualified at the end; `by` is the event that did so.
# A voter has one ballot on a tool, so all events of a voter here are about one ballot.
MAKE_HISTORY = """
create temp table history as
with changes as (
    select c.position, c.recorded_at, c.type, c.voter, c.plus, c.minus
    from pg_temp.changes c where c.position <= $1 and c.position <> all($2::bigint[])
),
votes as (
    select position, recorded_at, type, voter, plus as choice from changes where type in ('VoteCast', 'VoteRetracted')
),
bans as (
    select position, recorded_at, type, voter, coalesce(plus, minus) as choice
    from changes where type in ('VoterDisqualified', 'VoterReinstated')
),
banned as (
    select distinct on (voter) voter, type, position from bans order by voter, position desc
),
followed as (
    select v.*, lead(v.type) over w as next_type, lead(v.position) over w as next_position
    from votes v window w as (partition by v.voter order by v.position)
)
select f.position, f.recorded_at, f.voter, f.choice,
       case when f.type = 'VoteRetracted' then 'retracts'
            when f.next_type = 'VoteCast' then 'changed'
            when f.next_type = 'VoteRetracted' then 'retracted'
            when b.type = 'VoterDisqualified' then 'voided'
            else 'counts' end as fate,
       case when f.type = 'VoteCast' then coalesce(f.next_position, case when b.type = 'VoterDisqualified' then b.position end)
       end as by
from followed f left join banned b on b.voter = f.voter
union all
select position, recorded_at, voter, choice, case type when 'VoterDisqualified' then 'disqualifies' else 'reinstates' end, null
from bans
"""

SUM = """
select fate, count(*) as events,
       count(*) filter (where choice = 'ship') as ship, count(*) filter (where choice = 'skip') as skip
from history group by fate
"""

VOTERS = "select count(distinct voter) from history"

EVENTS = """
select position, recorded_at, fate, choice, voter, by from history order by position desc limit $1
"""

CORRECTIONS = named("""
select c.position, c.recorded_at, c.action, c.reason, c.voters, c.votes
from {corrections}.corrected_tools t join {corrections}.corrections c using (correction)
where t.tool = $1 and c.position <= $2 order by c.position
""")


class EventLine(msgspec.Struct, frozen=True):
    """An event of a tally with its fate; `by` is the position of the event that superseded it."""

    position: int
    recorded_at: datetime
    fate: Fate
    choice: str | None
    voter: str
    by: int | None


class Correction(msgspec.Struct, frozen=True):
    """A correction that changed the tally."""

    position: int
    recorded_at: datetime
    action: str
    reason: str
    voters: int
    votes: int


class TallyHistory(msgspec.Struct, frozen=True):
    """A tally, the number of its voters, the number of its events by fate, and the corrections of it."""

    ship: int
    skip: int
    voters: int
    fates: dict[str, int]
    corrections: Sequence[Correction]


async def find_tool(connection: "Connection[Any]", slug: str) -> str | None:
    """Return the id of the tool that has or had this slug, listed or not."""
    tool: str | None = await connection.fetchval(FIND_TOOL, slug)
    return tool


async def slugs_of(connection: "Connection[Any]", tools: Iterable[str]) -> dict[str, str]:
    """Return the slugs of tools by their ids, as the log has them; an id that no tool has is left out."""
    streams = [ids.stream_of(tool) for tool in set(tools) if ids.is_id(tool)]
    return {row["tool"]: row["slug"] for row in await connection.fetch(READ_SLUGS, streams)}


async def first_type_of(connection: "Connection[Any]", id_: str) -> str | None:
    """Return the type of the first event of the stream of what has this id; None if nothing has it."""
    type_: str | None = await connection.fetchval(FIRST_TYPE, ids.stream_of(id_))
    return type_


async def read_changes(
    connection: "Connection[Any]", tool: str, position: int, dropped: Sequence[int], *, everywhere: bool = False
) -> None:
    """Read the changes of a tool's tally up to a position into the temporary table `changes`, which stays with the connection.

    They are found by the hours view, which passes over `dropped`, or `everywhere` in the log, whatever the view says.
    """
    await connection.execute("drop table if exists pg_temp.changes")
    await connection.execute("create temp table changes as " + CHANGES, tool, position, dropped, everywhere)


async def read_history(connection: "Connection[Any]", tool: str, position: int, dropped: Sequence[int]) -> TallyHistory:
    """Return the history of a tool's tally up to a position, by its changes. Its events stay too, for `read_events`."""
    await connection.execute("drop table if exists pg_temp.history")
    await connection.execute(MAKE_HISTORY, position, dropped)
    sums = {row["fate"]: row for row in await connection.fetch(SUM)}
    counts = sums.get("counts")
    return TallyHistory(
        ship=counts["ship"] if counts else 0,
        skip=counts["skip"] if counts else 0,
        voters=await connection.fetchval(VOTERS),
        fates={fate: row["events"] for fate, row in sums.items()},
        corrections=[Correction(**row) for row in await connection.fetch(CORRECTIONS, tool, position)],
    )


async def read_events(connection: "Connection[Any]", limit: int | None) -> AsyncIterator[EventLine]:
    """Read up to `limit` events of the history that `read_history` left, the last first."""
    async with connection.transaction():
        async for row in connection.cursor(EVENTS, limit, prefetch=1_000):
            yield EventLine(**row)
