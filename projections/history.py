"""How a tally came about: every vote on a tool up to a position, and what became of it.

Read from the log alone, in SQL, into a temporary table: a tool of a million votes takes no memory here.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from asyncpg import Connection

Fate = Literal["counts", "changed", "retracted", "voided", "retracts", "disqualifies", "reinstates"]

FIND_TOOL = "select data->>'tool' from log.recorded_events where type = 'ToolAdded' and data->>'slug' = $1"

# A vote counts unless the same voter voted anew, retracted, or is disqualified at the end; `by` is the event that said so.
# A voter has one ballot on a tool, so all of one voter's events here are about one ballot.
TELL = """
create temp table told as
with votes as (
    select e.position, e.recorded_at, e.type, e.data->>'voter' as voter, e.data->>'choice' as choice,
           e.data->>'previous' as previous
    from log.recorded_events e
    where e.position <= $2 and e.position <> all($3::bigint[]) and e.type in ('VoteCast', 'VoteRetracted')
      and e.data->>'tool' = $1
),
bans as (
    select e.position, e.recorded_at, e.type, e.data->>'voter' as voter, b.ballot->>1 as choice
    from log.recorded_events e cross join lateral jsonb_array_elements(e.data->'ballots') as b(ballot)
    where e.position <= $2 and e.position <> all($3::bigint[]) and e.type in ('VoterDisqualified', 'VoterReinstated')
      and b.ballot->>0 = $1
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
from told group by fate
"""

VOTERS = "select count(distinct voter) from told"

EVENTS = """
select position, recorded_at, fate, choice, voter, by from told order by position desc limit $1
"""

CORRECTIONS = """
select c.position, c.recorded_at, c.action, c.reason, c.voters, c.votes
from corrections_1.corrected_tools t join corrections_1.corrections c using (correction)
where t.tool = $1 and c.position <= $2 order by c.position
"""


class Told(msgspec.Struct, frozen=True):
    """An event of a tally and what became of it; `by` is the position of the one that superseded it."""

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


class Story(msgspec.Struct, frozen=True):
    """How a tally came about: the number, how many voters and events of each fate, and the corrections."""

    ship: int
    skip: int
    voters: int
    fates: dict[str, int]
    corrections: Sequence[Correction]


async def tool_of(connection: "Connection[Any]", slug: str) -> str | None:
    """Find a tool, listed or not, by its slug."""
    tool: str | None = await connection.fetchval(FIND_TOOL, slug)
    return tool


async def tell(connection: "Connection[Any]", tool: str, position: int, dropped: Sequence[int]) -> Story:
    """Tell how a tool's tally came about up to a position; what was told stays with the connection, for `events`."""
    await connection.execute("drop table if exists pg_temp.told")
    await connection.execute(TELL, tool, position, dropped)
    sums = {row["fate"]: row for row in await connection.fetch(SUM)}
    counts = sums.get("counts")
    return Story(
        ship=counts["ship"] if counts else 0,
        skip=counts["skip"] if counts else 0,
        voters=await connection.fetchval(VOTERS),
        fates={fate: row["events"] for fate, row in sums.items()},
        corrections=[Correction(**row) for row in await connection.fetch(CORRECTIONS, tool, position)],
    )


async def events(connection: "Connection[Any]", limit: int | None) -> AsyncIterator[Told]:
    """Give up to `limit` of the events that were told, the last first."""
    async with connection.transaction():
        async for row in connection.cursor(EVENTS, limit, prefetch=1_000):
            yield Told(**row)
