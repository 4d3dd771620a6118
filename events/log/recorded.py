"""The log as it stands, for operators and exports: every event with all that was recorded of it, its data undecoded."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import Connection


class RecordedRow(msgspec.Struct, frozen=True):
    """An event as recorded; `data` and `meta` are JSON."""

    position: int
    stream: UUID
    version: int
    type: str
    schema_version: int
    data: msgspec.Raw
    meta: msgspec.Raw
    recorded_at: datetime


READ = """
select position, stream, version, type, schema_version, data, coalesce(meta, 'null'::jsonb) as meta, recorded_at
from log.recorded_events where position > $1 order by position limit $2
"""

READ_STREAM = """
select position, stream, version, type, schema_version, data, coalesce(meta, 'null'::jsonb) as meta, recorded_at
from log.recorded_events where stream = $3 and position > $1 order by version limit $2
"""


# The newest first. Types have no index, so a search looks at so many positions at a time and says where it stopped.
SEARCH = """
select position, stream, version, type, schema_version, data, coalesce(meta, 'null'::jsonb) as meta, recorded_at
from log.recorded_events
where position < $1 and position >= $1 - $2 and ($3::text is null or type = $3)
  and ($4::text is null or strpos(data::text, $4) > 0 or strpos(stream::text, $4) > 0)
order by position desc limit $5
"""


async def search(
    database: "asyncpg.Pool[Any]", before: int, span: int, type_: str | None, words: str | None, limit: int
) -> Sequence[RecordedRow]:
    """Give up to `limit` events of the `span` positions below one, newest first, of a type and with some words in them."""
    return [_row(row) for row in await database.fetch(SEARCH, before, span, type_, words, limit)]


async def read(
    database: "asyncpg.Pool[Any] | Connection[Any]", after: int, limit: int, stream: UUID | None = None
) -> Sequence[RecordedRow]:
    """Give up to `limit` events above a position, in order, of the whole log or one stream."""
    if stream is None:
        rows = await database.fetch(READ, after, limit)
    else:
        rows = await database.fetch(READ_STREAM, after, limit, stream)
    return [_row(row) for row in rows]


def _row(row: Any) -> RecordedRow:
    raws = {"data": msgspec.Raw(row["data"].encode()), "meta": msgspec.Raw(row["meta"].encode())}
    return RecordedRow(**{**row, **raws})
