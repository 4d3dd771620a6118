"""The only door to the log's tables: every read, and the statements of the append, which `events.log.committer` runs.

Positions are dense and in commit order, and an answer is given only once its events are durable.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from asyncpg import Connection, Record

from events.log.event import Event, Recorded, Registry
from events.log.reads import Reads

# What `decode` needs of an event, and all that was recorded of it.
EVENTS = "select stream, version, position, type, schema_version, data from log.recorded_events"
ROWS = "select position, stream, version, type, schema_version, data, meta, recorded_at from log.recorded_events"

ALLOW_SECONDS = "select set_config('idle_in_transaction_session_timeout', $1, true)"

# The row of the head also says whether the log still holds the mark ($2, $3, $4).
LOCK_AND_READ = """
select r.n, r.version, r.position, r.type, r.schema_version, r.data, r.extra,
       case when r.n = 0 then log.holds($2, $3, $4) end as holds
from log.lock_and_read($1) r
"""

# That the log's table is named here locks it before the snapshot is taken: a part that is archived meanwhile would be missed.
READ_LASTS = """
select n, version, position, type, schema_version, data from log.lasts($1) where not exists (select from log.events where false)
"""

READ_WHOLES = EVENTS + " where stream = any($1::uuid[]) order by position"
READ_SINCE = EVENTS + " where stream = any($1::uuid[]) and position > $2 order by position"

# The types are literals, because an index of the log holds these alone and a parameter would miss it.
READ_LISTING = """
select position, type, schema_versionFIELDS from log.recorded_events
where type = any('{TYPES}') and position > $1 and position <= $3 order by position limit $2
"""

READ_ROWS = ROWS + " where position > $1 and (select log.must_be_here($1, $1 + $2)) order by position limit $2"
READ_STREAM_ROWS = (
    ROWS.replace("log.recorded_events", "log.of_stream($3::uuid)") + " where position > $1 order by version limit $2"
)

# Of these types; like a search, it covers a limited number of positions.
OF_TYPES = """
where position > $1 and position <= $1 + $4 and type = any($3::text[])
  and (select case when exists (select from log.usual_types u where u.type = any($3)) then log.must_be_here($1, $1 + $4)
                   else true end)
order by position limit $2
"""
READ_ROWS_OF = ROWS + OF_TYPES
READ_STREAM_ROWS_OF = READ_STREAM_ROWS.replace("order by", "and type = any($4::text[]) order by")

# The newest first. Types have no index, so a search covers a limited number of positions and says where it stopped.
SEARCH_ROWS = (
    ROWS
    + """
where position < $1 and position >= $1 - $2 and (select log.must_be_here($1 - $2 - 1, $1 - 1))
  and ($3::text is null or type = $3)
  and ($4::text is null or strpos(data::text, $4) > 0 or strpos(stream::text, $4) > 0)
order by position desc limit $5
"""
)

# The time is taken under the head's lock, at least a microsecond above the last batch's. Of versions and types that are alike
# only the first is sent, and metas only if there are any: `unnest` fills up the rest with nulls.
APPEND = """
with batch as (
    update log.head
    set position = position + cardinality($1::uuid[]),
        recorded_at = greatest(clock_timestamp(), recorded_at + interval '1 microsecond'),
        listing_position = coalesce($7, listing_position)
    returning position - cardinality($1::uuid[]) as before, recorded_at
),
added as (
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select e.stream, batch.before + e.n, batch.recorded_at, coalesce(e.version, $2[1]), coalesce(e.schema_version, $3[1]),
       coalesce(e.type, $4[1]), e.data::jsonb, e.meta::jsonb
from batch, unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::text[], $6::text[]) with ordinality
    as e(stream, version, schema_version, type, data, meta, n)
)
select recorded_at from batch
"""

# The append of a batch if what it was decided on still stands, in `events.log.conditional`.
APPEND_IF = "select * from log.append_if($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"

LOCK_HEAD = "select position, extra as listing_position from log.lock_and_read('{}')"

READ_STREAMS_SINCE = "select stream from log.events where position > $1"

# The same for a batch that was written down beside the log ($1: its size; $2: the listing's position).
TAKE_LARGE = """
with batch as (
    update log.head
    set position = position + $1::bigint,
        recorded_at = greatest(clock_timestamp(), recorded_at + interval '1 microsecond'),
        listing_position = coalesce($2::bigint, listing_position)
    returning position - $1::bigint as before, recorded_at
)
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select e.stream, batch.before + e.n, batch.recorded_at, e.version, e.schema_version, e.type, e.data, e.meta
from batch, pg_temp.large_batch e
"""

READ_KEYS = """
select k.n::integer as n, i.fingerprint, i.receipt
from unnest($1::text[], $2::text[]) with ordinality as k(scope, key, n)
join log.idempotency i on i.scope = k.scope and i.key = k.key
where i.recorded_at > now() - interval '24 hours'
"""

# An expired key is as if it were not there.
KEEP_KEYS = """
insert into log.idempotency (scope, key, fingerprint, receipt, recorded_at)
select k.scope, k.key, k.fingerprint, k.receipt::jsonb, now()
from unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) as k(scope, key, fingerprint, receipt)
on conflict (scope, key) do update
set fingerprint = excluded.fingerprint, receipt = excluded.receipt, recorded_at = excluded.recorded_at
"""

CLEAR_KEYS = """
delete from log.idempotency where ctid = any(array(
    select ctid from log.idempotency where recorded_at < now() - interval '24 hours' order by recorded_at limit $1))
"""
CLEARED_AT_ONCE: Final = 10_000
"""Rows a statement, so that none holds locks or dead rows for long."""

NO_META: Final = msgspec.Raw(b"null")


class RecordedRow(msgspec.Struct, frozen=True):
    """An event as recorded, not decoded: `data` and `meta` are JSON."""

    position: int
    stream: UUID
    version: int
    type: str
    schema_version: int
    data: msgspec.Raw
    meta: msgspec.Raw
    recorded_at: datetime


def read_listing(types: Sequence[type[Event]], fields: Sequence[str]) -> str:
    """Return the statement that reads these fields of events of these types above $1 and up to $3, at most $2 of them."""
    columns = "".join(f", data->>'{field}'" for field in fields)
    return READ_LISTING.replace("TYPES", ",".join(type_.__name__ for type_ in types)).replace("FIELDS", columns)


def decode(registry: Registry, row: Record, stream: UUID | None = None) -> Recorded[Any]:
    """Return the event of a row of `log.recorded_events`. Raises UnknownEvent if this release does not know it."""
    event = registry.decode(row["type"], row["schema_version"], row["data"])
    return Recorded(stream or row["stream"], row["version"], row["position"], event)


def as_row(record: Record) -> RecordedRow:
    """Return a record of `ROWS` as a struct."""
    meta = NO_META if record["meta"] is None else msgspec.Raw(record["meta"].encode())
    return RecordedRow(**{**record, "data": msgspec.Raw(record["data"].encode()), "meta": meta})


async def read_rows(database: Reads, after: int, limit: int, stream: UUID | None = None) -> Sequence[RecordedRow]:
    """Return up to `limit` events above a position, in order, of the whole log or of one stream."""
    if stream is None:
        records = await database.fetch(READ_ROWS, after, limit)
    else:
        records = await database.fetch(READ_STREAM_ROWS, after, limit, stream)
    return [as_row(record) for record in records]


async def read_on(
    database: Reads, after: int, limit: int, stream: UUID | None = None, types: Sequence[str] = (), span: int = 20_000
) -> tuple[Sequence[RecordedRow], int]:
    """Return up to `limit` events above a position, of one stream or some types alone if they are named.

    Also return the position up to which all such events are among them: `span` positions are searched at most.
    """
    head: int = await database.fetchval("select position from log.whole()")
    if after >= head:
        return (), after
    if stream is not None:
        named = (READ_STREAM_ROWS_OF, list(types)) if types else (READ_STREAM_ROWS,)
        records, searched = await database.fetch(named[0], after, limit, stream, *named[1:]), head
    elif types:
        records, searched = await database.fetch(READ_ROWS_OF, after, limit, list(types), span), min(head, after + span)
    else:
        records, searched = await database.fetch(READ_ROWS, after, limit), head
    rows = [as_row(record) for record in records if record["position"] <= head]
    if len(rows) == limit:
        searched = rows[-1].position
    return rows, max(after, searched)


async def search_rows(
    database: Reads, before: int, span: int, type_: str | None, words: str | None, limit: int
) -> Sequence[RecordedRow]:
    """Return up to `limit` events of the `span` positions below one, newest first, of a type and containing some words."""
    return [as_row(record) for record in await database.fetch(SEARCH_ROWS, before, span, type_, words, limit)]


async def clear_old_receipts(connection: "Connection[Any]") -> int:
    """Delete the receipts of idempotency keys older than 24 hours; return their number."""
    cleared = 0
    while True:
        status = await connection.execute(CLEAR_KEYS, CLEARED_AT_ONCE)
        deleted = int(status.rpartition(" ")[2])
        cleared += deleted
        if deleted < CLEARED_AT_ONCE:
            return cleared


class Log:
    """Decoded reads of the log, each in its own statement on a pool's connection."""

    def __init__(self, pool: Reads, registry: Registry) -> None:
        self._pool = pool
        self._registry = registry

    async def head(self) -> int:
        """Return the last position; 0 for an empty log."""
        position: int = await self._pool.fetchval("select position from log.head")
        return position

    async def last(self, stream: UUID) -> Recorded[Event] | None:
        """Return a stream's last event; None if it has none."""
        rows = await self._pool.fetch(READ_LASTS, [stream])
        return decode(self._registry, rows[0], stream) if rows else None

    async def lasts(self, streams: Sequence[UUID]) -> Sequence[Recorded[Event] | None]:
        """Return the last event of each of these streams; None where there is none."""
        found: list[Recorded[Event] | None] = [None] * len(streams)
        for row in await self._pool.fetch(READ_LASTS, streams):
            found[row["n"] - 1] = decode(self._registry, row, streams[row["n"] - 1])
        return found

    async def whole(self, stream: UUID) -> Sequence[Recorded[Event]]:
        """Return all events of a stream, in order."""
        return [decode(self._registry, row) for row in await self._pool.fetch(READ_WHOLES, [stream])]

    async def since(self, streams: Sequence[UUID], position: int) -> Sequence[Recorded[Event]]:
        """Return the events of these streams above a position, in the log's order."""
        rows = await self._pool.fetch(READ_SINCE, streams, position)
        return [decode(self._registry, row) for row in rows]

    async def position_at(self, time: datetime) -> int:
        """Return the last position recorded at or before a time; 0 before the first."""
        position: int = await self._pool.fetchval("select log.position_at($1)", time)
        return position
