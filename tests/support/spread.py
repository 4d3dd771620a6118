"""A log as it is on Citus, on one plain server: its table, its functions, and batches whose events are seen after the head."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from events.log import citus
from events.log.event import Event, encode

MOVE = """
update log.head set position = position + $1, recorded_at = greatest(clock_timestamp(), recorded_at + interval '1 microsecond'),
                    listing_position = coalesce(position + $2::bigint, listing_position)
returning position - $1 as before, recorded_at
"""
INSERT = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data) values ($1, $2, $3, $4, 1, $5, $6)
"""


async def prepare(dsn: str) -> None:
    """Give an empty log the table and the functions that `migrate --citus` gives it before it is spread."""
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await citus.prepare(connection)
    await connection.close()


class Server:
    """A server that holds some events of a batch, and commits them when it is told to."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    async def commit(self) -> None:
        """Let everybody see the events."""
        await self._connection.execute("commit")


@asynccontextmanager
async def late(
    dsn: str, *servers: Sequence[tuple[UUID, int, Event]], listing: int | None = None
) -> AsyncIterator[list[Server]]:
    """Commit the head of a batch; its events, (stream, version, event) by the server that holds them, are yet to be committed.

    Positions go to the events in order. `listing` is the number of the event in the batch that changed the listing.
    """
    coordinator = await asyncpg.connect(dsn)
    connections = [await asyncpg.connect(dsn) for _ in servers]
    try:
        async with coordinator.transaction():
            row = await coordinator.fetchrow(MOVE, sum(map(len, servers)), listing)
            position, recorded_at = row["before"], row["recorded_at"]
            for connection, events in zip(connections, servers, strict=True):
                await connection.execute("begin")
                for stream, version, event in events:
                    position += 1
                    await connection.execute(
                        INSERT, stream, position, recorded_at, version, type(event).__name__, encode(event)
                    )
        yield [Server(connection) for connection in connections]
    finally:
        for connection in (coordinator, *connections):
            connection.terminate()
