"""Read what the log holds of a person, with times; and what the tools are called that it is about."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from asyncpg import Connection, Pool

from events.log.event import Event
from events.registry import REGISTRY
from projections.registry import named

Database: TypeAlias = "Pool[Any] | Connection[Any]"

# A visitor's own streams are one range of the primary key; ids that begin alike have streams there too.
READ_OWN = """
select e.stream, e.position, e.recorded_at, e.type, e.schema_version, e.data
from log.between_streams(log.first_stream($1), log.last_stream($1)) e
where coalesce(e.data->>'voter', e.data->>'visitor') = $1
order by e.position
"""
READ_STREAMS = """
select e.stream, e.position, e.recorded_at, e.type, e.schema_version, e.data from log.recorded_events e
where e.stream = any($1::uuid[]) order by e.position
"""
READ_SLUGS = named("""
select slug from {cards}.tools where tool = any($1::text[])
union select slug from {cards}.former_slugs where tool = any($1::text[])
""")
READ_TOOLS = named("select tool, slug, name from {cards}.tools where tool = any($1::text[])")


class Told(NamedTuple):
    """An event, with its position and the time it was recorded at."""

    stream: UUID
    position: int
    at: datetime
    event: Event


class ToolName(NamedTuple):
    """What a tool is called: its slug and its name; those of a tool that the views don't know are None."""

    slug: str | None
    name: str | None


UNKNOWN = ToolName(None, None)


async def read_own(database: Database, visitor: str) -> list[Told]:
    """Return the events of a visitor's own streams, oldest first: ballots, bookmarks, reviews' places, reports, corrections."""
    return [_told(row) for row in await database.fetch(READ_OWN, visitor)]


async def read_streams(database: Database, streams: Collection[UUID]) -> list[Told]:
    """Return all events of these streams, oldest first."""
    return [_told(row) for row in await database.fetch(READ_STREAMS, list(streams))] if streams else []


async def read_tools(database: Database, tools: Sequence[str]) -> dict[str, ToolName]:
    """Return what these tools are called, by their ids."""
    return {row["tool"]: ToolName(row["slug"], row["name"]) for row in await database.fetch(READ_TOOLS, tools)}


async def read_slugs(database: Database, tools: Sequence[str]) -> list[str]:
    """Return every slug that these tools have or had."""
    return [row["slug"] for row in await database.fetch(READ_SLUGS, tools)]


def tools_of(told: Sequence[Told]) -> list[str]:
    """Return the ids of the tools that events are about."""
    return sorted({tool for one in told if (tool := getattr(one.event, "tool", None)) is not None})


def _told(row: Any) -> Told:
    event = REGISTRY.decode(row["type"], row["schema_version"], row["data"])
    return Told(row["stream"], row["position"], row["recorded_at"], event)
