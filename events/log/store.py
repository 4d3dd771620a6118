"""The only door to the log: reading, and the statements of the append.

Positions are dense and in commit order. What was answered is durable. Appending goes through `events.log.committer`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from events.log.event import Event, Recorded, Registry

ALLOW_SECONDS = "select set_config('idle_in_transaction_session_timeout', $1, true)"

LOCK_AND_READ = "select n, version, position, type, schema_version, data, extra from log.lock_and_read($1)"

READ_LASTS = """
select s.n::integer as n, e.version, e.position, e.type, e.schema_version, e.data
from unnest($1::uuid[]) with ordinality as s(stream, n)
cross join lateral (
    select r.version, r.position, r.type, r.schema_version, r.data
    from log.recorded_events r where r.stream = s.stream order by r.version desc limit 1
) e
"""

READ_WHOLES = """
select r.stream, r.version, r.position, r.type, r.schema_version, r.data
from log.recorded_events r where r.stream = any($1::uuid[]) order by r.position
"""

# The types are literals, because an index of the log holds these alone and a parameter would miss it.
READ_LISTING = """
select r.stream, r.version, r.position, r.type, r.schema_version, r.data
from log.recorded_events r where r.type = any('{TYPES}') and r.position > $1 order by r.position
"""

# The time is taken under the head's lock, at least a microsecond above the last batch's.
APPEND = """
with batch as (
    update log.head
    set position = position + cardinality($1::uuid[]),
        recorded_at = greatest(clock_timestamp(), recorded_at + interval '1 microsecond'),
        listing_position = coalesce($7, listing_position)
    returning position - cardinality($1::uuid[]) as before, recorded_at
)
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select e.stream, batch.before + e.n, batch.recorded_at, e.version, e.schema_version, e.type, e.data::jsonb, e.meta::jsonb
from batch, unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::text[], $6::text[]) with ordinality
    as e(stream, version, schema_version, type, data, meta, n)
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


def read_listing(types: Sequence[type[Event]]) -> str:
    """Return the statement that reads the events of these types above a position."""
    return READ_LISTING.replace("TYPES", ",".join(type_.__name__ for type_ in types))


def decode(registry: Registry, row: Any, stream: UUID | None = None) -> Recorded[Any]:
    """Make a row of `log.recorded_events` a Recorded; UnknownEvent if this release does not know it."""
    event = registry.decode(row["type"], row["schema_version"], row["data"])
    return Recorded(stream or row["stream"], row["version"], row["position"], event)


class Log:
    """Reads of the log, each in its own statement on a pool's connection."""

    def __init__(self, pool: "asyncpg.Pool[Any]", registry: Registry) -> None:
        self._pool = pool
        self._registry = registry

    async def head(self) -> int:
        """Give the last position; 0 for an empty log."""
        position: int = await self._pool.fetchval("select position from log.head")
        return position

    async def last(self, stream: UUID) -> Recorded[Event] | None:
        """Give a stream's last event, None if it has none."""
        rows = await self._pool.fetch(READ_LASTS, [stream])
        return decode(self._registry, rows[0], stream) if rows else None

    async def lasts(self, streams: Sequence[UUID]) -> Sequence[Recorded[Event] | None]:
        """Give the last event of each of these streams, None where there is none."""
        found: list[Recorded[Event] | None] = [None] * len(streams)
        for row in await self._pool.fetch(READ_LASTS, streams):
            found[row["n"] - 1] = decode(self._registry, row, streams[row["n"] - 1])
        return found

    async def whole(self, stream: UUID) -> Sequence[Recorded[Event]]:
        """Give all events of a stream in order."""
        return [decode(self._registry, row) for row in await self._pool.fetch(READ_WHOLES, [stream])]

    async def since(self, streams: Sequence[UUID], position: int) -> Sequence[Recorded[Event]]:
        """Give the events of these streams above a position, in the log's order."""
        rows = await self._pool.fetch(
            "select stream, version, position, type, schema_version, data from log.recorded_events"
            " where stream = any($1::uuid[]) and position > $2 order by position",
            streams,
            position,
        )
        return [decode(self._registry, row) for row in rows]

    async def position_at(self, time: datetime) -> int:
        """Give the last position recorded at or before a time; 0 before the first."""
        position: int = await self._pool.fetchval("select log.position_at($1)", time)
        return position
