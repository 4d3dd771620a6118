"""Fold one window of the log into a projection's tables: the same statements live and on replay.

A window counts its events and checks their types: a hole, an unknown type or a newer version fails it, and nothing is skipped.
"""

from collections.abc import Sequence
from typing import Any

from asyncpg import Connection, Record

from events import quarantine
from events.log.event import Registry
from projections.engine.projection import Projection

# Nearly all events are of the log's usual types. They are counted in the index of positions alone: all events (the row without
# a type) less the others, which have an index of their own. The usual types come without a count.
COUNT_TYPES = """
select type, schema_version, count(*) as events
from log.other_events
where position > $1 and position <= $2 and position <> all($3::bigint[])
group by type, schema_version
union all
select type, schema_version, null from log.usual_types
union all
select null, null, count(*) from log.recorded_events
where position > $1 and position <= $2 and position <> all($3::bigint[]) and (select log.must_be_here($1, $2))
"""

# `:changes` are the rows (name, change) of a view's own statement. Whoever folds a window must carry the totals on, or the
# drift watch takes it for a checkpoint moved by hand. An event that an operator dropped may be missing: then the mark stays at
# the one before.
MOVE_CHECKPOINT = """
with changed (name, change) as (:changes)
update checkpoint
set position = $2, halted_position = null, halted_error = null, halted_since = null,
    totals = case when totals_position = $1 then totals || coalesce((
        select jsonb_object_agg(c.name, coalesce((totals->>c.name)::bigint, 0) + coalesce(c.change, 0)::bigint) from changed c
    ), '{}') else totals end,
    totals_position = case when totals_position = $1 then $2 else totals_position end,
    seen_position = coalesce(e.position, seen_position), seen_at = coalesce(e.recorded_at, seen_at),
    seen_stream = coalesce(e.stream, seen_stream)
from (select $2::bigint as position) w left join log.at_position($2) e on true
where checkpoint.position = $1
"""

NO_CHANGES = "select '', 0 where false"

# The same of a window of which nothing was dropped, nearly every one, together with the positions that were.
LOOK = (
    COUNT_TYPES
    + """
union all
select 'dropped', null, (data->>'position')::bigint from log.recorded_events where stream = $4 and type = 'EventDropped'
"""
)

DROPPED = """
select (data->>'position')::bigint as position
from log.recorded_events where stream = $1 and type = 'EventDropped' and ($2::bigint is null or position <= $2) order by 1
"""


class HoleInLog(Exception):
    """Positions are missing from the log."""


class EventTypeUnknown(Exception):
    """The window holds an event of a type or version that this release does not know."""


class LogWentBack(Exception):
    """The view holds events that the log doesn't hold any more."""


class CheckpointMoved(Exception):
    """Another runner advanced the checkpoint meanwhile."""


async def dropped_positions(connection: "Connection[Any]", projection: Projection, end: int | None = None) -> Sequence[int]:
    """Return the positions that operators let this projection pass over: those of now, or of when the log ended at `end`.

    A whole one passes over nothing.
    """
    if projection.whole:
        return []
    rows = await connection.fetch(DROPPED, quarantine.stream(projection.name), end)
    return [row["position"] for row in rows]


async def apply(
    connection: "Connection[Any]",
    projection: Projection,
    registry: Registry,
    start: int,
    end: int,
    dropped: Sequence[int] | None = None,
) -> None:
    """Fold `(start, end]` into the tables of the search_path, and move their checkpoint with its totals.

    `dropped` are the positions to pass over; if it isn't given, those that operators let the view pass over now.

    Must run in a transaction that holds the checkpoint's lock. Raises HoleInLog, EventTypeUnknown, CheckpointMoved, or what the
    statements raise.
    """
    if dropped is None:
        present, dropped = await look(connection, projection, registry, start, end)
    else:
        present = await types(connection, registry, start, end, dropped)
    # All dropped positions, since a step may look back at events of an earlier window.
    places = projection.window(start, end, dropped)
    for step in projection.steps:
        if step.concerns(present):
            await connection.execute(step.sql, *places)
    if projection.changes.concerns(present):
        await _move(connection, projection, projection.changes.sql, *places)
    else:
        await move(connection, projection, start, end)


async def move(connection: "Connection[Any]", projection: Projection, start: int, end: int) -> None:
    """Move the checkpoint from one position to another past events that change no total. Raises CheckpointMoved."""
    await _move(connection, projection, NO_CHANGES, start, end)


async def _move(connection: "Connection[Any]", projection: Projection, changes: str, *places: int | Sequence[int]) -> None:
    if await connection.execute(MOVE_CHECKPOINT.replace(":changes", changes), *places) != "UPDATE 1":
        raise CheckpointMoved(projection.name)


async def look(
    connection: "Connection[Any]", projection: Projection, registry: Registry, start: int, end: int
) -> tuple[set[str], Sequence[int]]:
    """Return the types of a window's events, and the positions to pass over now. Raises HoleInLog or EventTypeUnknown."""
    stream = None if projection.whole else quarantine.stream(projection.name)
    rows = await connection.fetch(LOOK, start, end, [], stream)
    dropped = sorted(row["events"] for row in rows if row["type"] == "dropped")
    if any(start < position <= end for position in dropped):
        return await types(connection, registry, start, end, dropped), dropped
    return _known([row for row in rows if row["type"] != "dropped"], registry, start, end - start), dropped


async def types(connection: "Connection[Any]", registry: Registry, start: int, end: int, dropped: Sequence[int]) -> set[str]:
    """Return the types of a window's events. Raises HoleInLog or EventTypeUnknown."""
    rows = await connection.fetch(COUNT_TYPES, start, end, dropped)
    return _known(rows, registry, start, end - start - sum(start < position <= end for position in dropped))


def _known(rows: Sequence[Record], registry: Registry, start: int, expected: int) -> set[str]:
    """Return the types that were counted after a position. Raises HoleInLog or EventTypeUnknown."""
    counts, usual, total = {}, [], 0
    for row in rows:
        if row["type"] is None:
            total = row["events"]
        elif row["events"] is None:
            usual.append((row["type"], row["schema_version"]))
        else:
            counts[row["type"], row["schema_version"]] = row["events"]
    present = {*counts, *(usual if total > sum(counts.values()) else ())}
    if unknown := present - set(registry.known):
        names = ", ".join(f"{type_} version {version}" for type_, version in sorted(unknown))
        raise EventTypeUnknown(f"{names}: not known to this release")
    if total != expected:
        raise HoleInLog(f"of {expected} positions after {start}, the log holds {total}")
    return {type_ for type_, _ in present}
