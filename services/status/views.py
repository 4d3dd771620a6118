"""The state of every projection, read in one statement; and the pulse, its short form for an operator's charts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
from asyncpg import Record

from events.log.reads import Reads
from projections.engine.projection import Projection
from projections.registry import PROJECTIONS, SHOWN
from services.status.model import Drift, Halt, ProjectionStatus

MINUTES: Final = 60

# A checkpoint is one row. Schemas are made of projections' names and versions, never of input: no parameter can name one.
_CHECKPOINT: Final = """
select '{name}' as name, '{schema}' as schema, position, caught_up,
       halted_position, halted_error, halted_since, drift, drift_since
from {schema}.checkpoint
"""

# Of each projection: how far it is behind the log, how long its oldest unseen event has waited, and how many projectors run it.
_READ_VIEWS: Final = """
with sessions as materialized (
    select application_name as name, count(*) as number
    from pg_stat_activity where datname = current_database() group by 1
)
select v.*, h.position - v.position as lag, coalesce(s.number, 0) as runners,
       coalesce(extract(epoch from greatest(clock_timestamp() - (
           select e.recorded_at from log.at_position(v.position + 1) e
       ), '0')), 0)::float8 as lag_seconds
from ({checkpoints}) v
cross join log.head h
left join sessions s on s.name = 'ballotpress-' || v.schema
"""

_POSITION: Final = "(select position from {schema}.checkpoint)"
_LOWEST: Final = "least({positions})".format(positions=", ".join(_POSITION.format(schema=p.schema) for p in SHOWN))
_REACHED: Final = f"select {_LOWEST} as lowest, position as head, pg_is_in_recovery() as follows from log.head"  # noqa: S608 - made of projections' names

MISSING: Final = """
select s.schema from unnest($1::text[]) as s(schema)
where to_regclass(quote_ident(s.schema) || '.checkpoint') is null
"""

# Positions are dense, so a difference of two is a count.
READ_MINUTES: Final = """
select log.position_at(now() - make_interval(mins => m)) as position from generate_series($1::integer, 0, -1) m order by m desc
"""


class Lag(msgspec.Struct, frozen=True):
    """A projection's name, and how many events it is behind the log."""

    name: str
    lag: int


class Pulse(msgspec.Struct, frozen=True):
    """The head of the log, and how far each projection is behind it."""

    head: int
    views: list[Lag]


async def read_views(database: Reads, projections: Sequence[Projection] = PROJECTIONS) -> Sequence[ProjectionStatus]:
    """Return the state of these projections. Raises UndefinedTableError for a missing one."""
    if not projections:
        return []
    checkpoints = "union all".join(_CHECKPOINT.format(name=p.name, schema=p.schema) for p in projections)
    found = {row["name"]: _status(row) for row in await database.fetch(_READ_VIEWS.format(checkpoints=checkpoints))}
    return [found[projection.name] for projection in projections]


class Reached(NamedTuple):
    """The position that all that is shown has reached, and that of the log's last event, at one moment of one server.

    `follows` of a replica: the log may have gone on elsewhere.
    """

    lowest: int
    head: int
    follows: bool


async def reached(database: Reads) -> Reached:
    """Return how far the views are that pages are made from. It is asked often: callers wait for their own writes by it."""
    (row,) = await database.fetch(_REACHED)
    return Reached(row["lowest"], row["head"], row["follows"])


async def missing_views(database: Reads) -> Sequence[str]:
    """Return the schemas of missing projections."""
    rows = await database.fetch(MISSING, [projection.schema for projection in PROJECTIONS])
    return [row["schema"] for row in rows]


async def read_present_views(database: Reads) -> Sequence[ProjectionStatus]:
    """Return the state of every projection that is not missing."""
    missing = await missing_views(database)
    return await read_views(database, [p for p in PROJECTIONS if p.schema not in missing])


def _status(row: Record) -> ProjectionStatus:
    halt = None
    if row["halted_position"] is not None:
        halt = Halt(row["halted_position"], row["halted_error"], row["halted_since"])
    drift = None if row["drift"] is None else Drift(row["drift"], row["drift_since"])
    plain = {name: row[name] for name in ("name", "schema", "position", "lag", "lag_seconds", "caught_up", "runners")}
    return ProjectionStatus(**plain, halt=halt, drift=drift)


async def views_caught_up(database: Reads) -> bool:
    """Check whether every projection has reached the head of the log."""
    return all(view.caught_up and view.lag == 0 for view in await read_views(database))


async def pulse(database: Reads) -> Pulse:
    """Return the pulse now."""
    views = await read_views(database)
    return Pulse(max((view.position + view.lag for view in views), default=0), [Lag(view.name, view.lag) for view in views])


async def throughput(database: Reads) -> Sequence[int]:
    """Return the number of events in each of the last 60 minutes, oldest first."""
    positions = [row["position"] for row in await database.fetch(READ_MINUTES, MINUTES)]
    return [later - earlier for earlier, later in pairwise(positions)]
