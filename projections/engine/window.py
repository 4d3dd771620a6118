"""Take one window of the log into a view: the same statements live and on replay.

A window counts its events and knows its types: a hole, an unknown type or a newer version fails it, and nothing is skipped.
"""

from collections.abc import Sequence
from typing import Any

from asyncpg import Connection

from events import quarantine
from events.log.event import Registry
from projections.engine.drift import Totals, add, encode
from projections.engine.projection import Projection

# Nearly all events are ballots of this version: they are counted in the index of positions alone, as what is left of all events
# once the others are taken off, which have an index of their own (events_others_idx). The row without a type counts all.
BALLOTS = (("VoteCast", 1), ("VoteRetracted", 1))
COUNT_TYPES = """
select type, schema_version, count(*) as events
from log.recorded_events
where position > $1 and position <= $2 and position <> all($3::bigint[])
  and (type not in ('VoteCast', 'VoteRetracted') or schema_version <> 1)
group by type, schema_version
union all
select null, null, count(*) from log.recorded_events where position > $1 and position <= $2 and position <> all($3::bigint[])
"""

MOVE_CHECKPOINT = """
update checkpoint
set position = $2, halted_position = null, halted_error = null, halted_since = null,
    totals = coalesce($3, totals), totals_position = case when $3 is null then totals_position else $2 end
where position = $1
"""

DROPPED = """
select (data->>'position')::bigint as position
from log.recorded_events where stream = $1 and type = 'EventDropped' order by 1
"""


class HoleInLog(Exception):
    """Positions are missing from the log."""


class EventTypeUnknown(Exception):
    """The window has an event of a type or version that this release does not know."""


class CheckpointMoved(Exception):
    """Somebody else advanced the checkpoint meanwhile."""


async def dropped_positions(connection: "Connection[Any]", projection: Projection) -> Sequence[int]:
    """Give the positions that operators let this projection pass over."""
    rows = await connection.fetch(DROPPED, quarantine.stream(projection.name))
    return [row["position"] for row in rows]


async def apply(
    connection: "Connection[Any]",
    projection: Projection,
    registry: Registry,
    start: int,
    end: int,
    dropped: Sequence[int],
    totals: Totals | None = None,
) -> None:
    """Take `(start, end]` into the tables of the search_path; move the checkpoint there, and the totals, those at `start`.

    Must run in a transaction that holds the checkpoint's lock. HoleInLog, EventTypeUnknown, CheckpointMoved, or SQL's errors.
    """
    left_out = sum(start < position <= end for position in dropped)
    rows = await connection.fetch(COUNT_TYPES, start, end, dropped)
    counts = {(row["type"], row["schema_version"]): row["events"] for row in rows}
    counted = counts.pop((None, None))
    if counted > sum(counts.values()):
        counts.update(dict.fromkeys(BALLOTS, 0))
    unknown = counts.keys() - set(registry.known)
    if unknown:
        names = ", ".join(f"{type_} version {version}" for type_, version in sorted(unknown))
        raise EventTypeUnknown(f"{names}: not known to this release")
    if counted != end - start - left_out:
        raise HoleInLog(f"of {end - start - left_out} positions after {start}, the log holds {counted}")
    present = {type_ for type_, _ in counts}
    for step in projection.steps:
        if not present.isdisjoint(step.types):
            # All of them, since a step may look back at what was taken, or passed over, in an earlier window.
            await connection.execute(step.sql, start, end, dropped)
    if totals is not None and not present.isdisjoint(projection.changes.types):
        totals = add(totals, await connection.fetch(projection.changes.sql, start, end, dropped))
    moved = await connection.execute(MOVE_CHECKPOINT, start, end, None if totals is None else encode(totals))
    if moved != "UPDATE 1":
        raise CheckpointMoved(projection.name)
