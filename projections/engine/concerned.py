"""Which events a row of a view comes from: positions to look at first when the row is wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection
from msgspec.structs import replace

from events import bookmarks, subscribers
from events.log import ids
from projections.engine.diff import Diff, RowDifference

# Of each row, at most this many positions are named, the last ones.
NAMED = 5
# Votes on a tool stand in as many streams as it has voters: they are looked for among this many positions only.
LOOKED_AT = 50_000

OF_STREAMS = """
select e.position from log.recorded_events e where e.stream = any($1::uuid[]) order by e.position desc limit $2
"""

OF_TOOL = """
select e.position
from log.recorded_events e
where e.position > $2 and e.position <= $3
  and (e.type in ('VoteCast', 'VoteRetracted') and e.data->>'tool' = $1
       or e.type in ('VoterDisqualified', 'VoterReinstated') and e.data @> $5)
order by e.position desc
limit $4
"""

HOUR = """
select log.position_at($1::text::timestamptz - interval '1 microsecond') as before,
       log.position_at($1::text::timestamptz + interval '1 hour' - interval '1 microsecond') as "until"
"""

Key = dict[str, Any]

STREAMS: Mapping[str, Callable[[Key], Sequence[UUID]]] = {
    "tools": lambda key: [ids.stream_of(key["tool"])],
    "panel": lambda key: [ids.stream_of(key["tool"])],
    "pairs": lambda key: [ids.stream_of(key["left_tool"]), ids.stream_of(key["right_tool"])],
    "disqualified": lambda key: [ids.stream_of(key["voter"])],
    "bookmarks": lambda key: [bookmarks.stream(key["visitor"], key["tool"])],
    "reviews": lambda key: [ids.stream_of(key["review"])],
    "subscribers": lambda key: [subscribers.stream(key["subscriber"])],
    "visitors": lambda key: [subscribers.stream(key["subscriber"])],
    "corrections": lambda key: [ids.stream_of(key["correction"])],
    "corrected_tools": lambda key: [ids.stream_of(key["correction"])],
}


async def add_events(connection: "Connection[Any]", found: Diff) -> Diff:
    """Name the events concerned in each row that is shown."""
    tables = []
    for table in found.tables:
        rows = [replace(row, events=await _events(connection, row, found.position)) for row in table.rows]
        tables.append(replace(table, rows=rows))
    return replace(found, tables=tables)


async def _events(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    """Give the last positions, in their order, of what made, or should have made, a row."""
    if (streams := STREAMS.get(row.table)) is not None:
        try:
            named = streams(row.key)
        except ValueError:  # a key that was never an id of ours comes from no event
            return []
        rows: Sequence[Any] = await connection.fetch(OF_STREAMS, named, NAMED)
    elif row.table == "hours":
        between = await connection.fetchrow(HOUR, row.key["hour"])
        assert between is not None  # noqa: S101 - one row always
        rows = await _of_tool(connection, row.key["tool"], between["before"], min(between["until"], position))
    elif row.table == "tallies":
        last = max((side["position"] for side in (row.live, row.right) if side), default=position)
        until = min(position, last)
        rows = await _of_tool(connection, row.key["tool"], until - LOOKED_AT, until)
    else:
        rows = []
    return sorted(found["position"] for found in rows if found["position"] <= position)


async def _of_tool(connection: "Connection[Any]", tool: str, after: int, until: int) -> Sequence[Any]:
    holding = msgspec.json.encode({"ballots": [[tool]]}).decode()
    rows: Sequence[Any] = await connection.fetch(OF_TOOL, tool, after, until, NAMED, holding)
    return rows
