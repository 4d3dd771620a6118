"""The log out, as it stands: every event with its own position, version and time, as the table holds it."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from asyncpg import Connection
from msgspec import Meta

AT_ONCE = 2_000
"""Events a round trip."""

NO_META = msgspec.Raw(b"null")

COLUMNS = ("position", "stream", "version", "type", "schema_version", "recorded_at", "data", "meta")

READ = """
select position, stream, version, type, schema_version, recorded_at, data, meta from log.events
where position >= $1 and position <= $2 order by position
"""

Time = Annotated[datetime, Meta(tz=True)]


class LogNotEmpty(Exception):
    """The log holds events already; the argument is their number."""


class LogBroken(Exception):
    """The log is not what it promises to be; the message is one sentence."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as the table holds it, at the schema version it was written with; `meta` is `null` when there is none."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    stream: UUID
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    type: str
    schema_version: Annotated[int, Meta(ge=1, le=2**15 - 1)]
    recorded_at: Time
    data: msgspec.Raw
    meta: msgspec.Raw


async def entries(connection: "Connection[Any]", first: int, last: int) -> AsyncIterator[Entry]:
    """Give the events from one position to another, in order; needs a transaction with one snapshot. LogBroken at a hole."""
    expected = first
    async for row in connection.cursor(READ, first, last, prefetch=AT_ONCE):
        if row["position"] != expected:
            break
        yield as_entry(row)
        expected += 1
    if expected != last + 1:
        raise LogBroken(f"The log has no event at position {expected}, though it should go on to {last}")


def as_entry(row: Any) -> Entry:
    """Make an entry of a row with its columns."""
    position, stream, version, type_, schema_version, recorded_at, data, meta = (row[column] for column in COLUMNS)
    raw = NO_META if meta is None else msgspec.Raw(meta.encode())
    return Entry(position, stream, version, type_, schema_version, recorded_at, msgspec.Raw(data.encode()), raw)
