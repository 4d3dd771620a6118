"""Events put into the log past the rules, and tools that are listed there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from events.catalog import ToolAdded
from events.log import ids
from events.log.command import Command, Decision, Reads, Seen
from events.log.committer import Committer
from events.log.event import Event, encode
from events.registry import REGISTRY
from projections.engine.projection import create_missing
from projections.registry import PROJECTIONS
from tests.support.catalogs import new_id
from tests.support.processes import PATIENCE

INSERT = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select s.stream, h.position + s.n, s.recorded_at,
       coalesce((select max(e.version) from log.events e where e.stream = s.stream), 0)
           + row_number() over (partition by s.stream order by s.n),
       1, s.type, s.data::jsonb
from log.head h, unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[])
     with ordinality as s(stream, recorded_at, type, data, n)
"""


async def record_at(connection: "asyncpg.Connection[Any]", events: Sequence[tuple[datetime, UUID, Event]]) -> None:
    """Write events into the log at their times, which the log itself would not let anyone choose."""
    times, streams = [at for at, _, _ in events], [stream for _, stream, _ in events]
    types, data = [type(event).__name__ for _, _, event in events], [encode(event) for _, _, event in events]
    await connection.execute(INSERT, streams, times, types, data)
    move = "update log.head set position = position + $1, recorded_at = greatest(recorded_at, $2)"
    await connection.execute(move, len(events), max(times, default=None))


class Append(Command[None], frozen=True):
    """A command that appends these events, whatever the log holds."""

    events: Sequence[tuple[UUID, Event]]

    def reads(self, listing: object) -> Reads:
        return Reads([stream for stream, _ in self.events])

    def decide(self, seen: Seen) -> Decision[None]:
        return Decision(events=self.events, value=None)


def patient(dsn: str, **options: Any) -> Committer:
    """Return a committer of which no slow machine makes a command give up."""
    return Committer(dsn, REGISTRY, patience=PATIENCE, **options)


def append(*events: tuple[UUID, Event]) -> Append:
    """Return the command that appends these events."""
    return Append(events)


def tool_added(tool: str, slug: str) -> ToolAdded:
    """Return the event of a plain tool."""
    return ToolAdded(
        tool=tool, slug=slug, name=slug.title(), tagline="t", description="d", category="c",
        pricing_tier="free", pricing_label="Free", best_for="b", url=None,
    )  # fmt: skip


async def add_tools(committer: Committer, *slugs: str) -> dict[str, str]:
    """Add plain tools; return their ids by slug."""
    tools = {slug: new_id() for slug in slugs}
    await committer.submit(append(*((ids.stream_of(tool), tool_added(tool, slug)) for slug, tool in tools.items())))
    return tools


async def go_back(connection: "asyncpg.Connection[Any]", position: int) -> None:
    """Take the log back to a position, as a restored backup of the log alone does; the views stay."""
    types = [type_.__name__ for type_ in REGISTRY.listing.types]
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("delete from log.events where position > $1", position)
        await connection.execute("delete from log.idempotency")
        await connection.execute(
            "update log.head set position = e.position, recorded_at = e.recorded_at, listing_position = least(listing_position,"
            " (select max(l.position) from log.events l where l.type = any($2)))"
            " from log.events e where e.position = $1",
            position,
            types,
        )


async def take_views_back(connection: "asyncpg.Connection[Any]") -> None:
    """Let every view stand where the log stands, as a restored backup of everything does: its tables keep their generation."""
    for projection in PROJECTIONS:
        made = await connection.fetchval(f"select generation from {projection.schema}.checkpoint")  # noqa: S608
        await connection.execute(f"drop schema {projection.schema} cascade")
        await create_missing(connection, [projection])
        await connection.execute(f"update {projection.schema}.checkpoint set generation = $1", made)  # noqa: S608
