"""The release before the log was in parts: its database, and how it appends, in its own statements."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final
from uuid import UUID

import asyncpg

LAST_MIGRATION: Final = 49

LOCK_AND_READ: Final = """
select r.n, r.version, r.position, r.type, r.schema_version, r.data, r.extra,
       case when r.n = 0 then $2::bigint = 0 or exists (
           select from log.events e where e.position = $2 and e.recorded_at = $3::timestamptz and e.stream = $4::uuid
       ) end as holds
from log.lock_and_read($1) r
"""

APPEND: Final = """
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

FILL: Final = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select gen_random_uuid(), n, '2026-01-01'::timestamptz + n * interval '1 second', 1, 1, 'VoteCast',
       jsonb_build_object('tool', 'AZqCsYGRcKuDwQ0000000A', 'voter', 'AZqCsYGRcKuDwQ0000000B', 'choice', 'ship')
from generate_series(1, $1::bigint) n
"""
SET_HEAD: Final = "update log.head set position = $1, recorded_at = '2026-06-01'"


async def fill(connection: "asyncpg.Connection[Any]", events: int) -> None:
    """Write the first events of a log."""
    await connection.execute(FILL, events)  # the streams come in no order, as voters do
    await connection.execute(SET_HEAD, events)


class Voting:
    """Votes that go on one after the other in one session, each a batch of that release."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.longest = 0.0
        """The longest that a vote took, in seconds."""
        self._mark: tuple[int, Any, Any] = (0, None, None)

    async def vote(self, connection: "asyncpg.Connection[Any]") -> None:
        """Cast a vote. Raises what the server raises."""
        began, stream = monotonic(), UUID(bytes=secrets.token_bytes(16))
        async with connection.transaction():
            head = (await connection.fetch(LOCK_AND_READ, [stream], *self._mark))[0]
            assert head["holds"]
            at = await connection.fetchval(APPEND, [stream], [1], [1], ["VoteCast"], ["{}"], [None], None)
        self._mark = (head["position"] + 1, at, stream)
        self.positions.append(head["position"] + 1)
        self.longest = max(self.longest, monotonic() - began)

    async def run(self, dsn: str) -> None:
        """Vote until cancelled."""
        connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": "2000", "statement_timeout": "5000"})
        try:
            while True:
                await self.vote(connection)
        finally:
            connection.terminate()


@asynccontextmanager
async def voting(dsn: str, sessions: int = 2) -> AsyncIterator[list[Voting]]:
    """Let some sessions vote for a while; a vote that fails in one of them fails here."""
    running = [Voting() for _ in range(sessions)]
    tasks = [asyncio.create_task(one.run(dsn)) for one in running]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if not isinstance(outcome, asyncio.CancelledError) and isinstance(outcome, BaseException):
            raise outcome
