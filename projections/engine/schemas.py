"""The schemas of a view: the live one, the one it is rebuilt in, the one kept from before; and holding the live one still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asyncpg import Connection

from events.log import postgres
from projections.engine.projection import Projection, connect

# What takes as long as the log is long: a comparison of whole tables.
PATIENCE_SECONDS = 24 * 3600

LOCK_CLASS = 0x6270  # advisory locks of ours; the second key is a hash of the view's name

# Room to sort and hash in.
ROOM = "select set_config('work_mem', '64MB', false), set_config('temp_buffers', '64MB', false)"

EXISTS = "select to_regnamespace($1) is not null"
TAKE = "select pg_try_advisory_lock($1, hashtext($2))"
IS_TAKEN = """
select exists (
    select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.granted and l.classid::bigint = $1::integer
      and l.objid::bigint = hashtext($2)::bigint & 4294967295)
"""


class RebuildRunning(Exception):
    """Another rebuild of this view is at work."""


def next_schema(projection: Projection) -> str:
    """Name the schema that a rebuild is made in."""
    return f"{projection.schema}_next"


def previous_schema(projection: Projection) -> str:
    """Name the schema of the tables kept from before."""
    return f"{projection.schema}_prev"


def gone_schema(projection: Projection) -> str:
    """Name the schema of tables that are about to be dropped."""
    return f"{projection.schema}_gone"


async def open_on(dsn: str, schema: str) -> "Connection[Any]":
    """Open a connection for rebuilding or comparing in a schema."""
    connection = await connect(dsn, schema, "replay", PATIENCE_SECONDS)
    await connection.execute(ROOM)
    return connection


@asynccontextmanager
async def only_one(dsn: str, projection: Projection) -> "AsyncIterator[None]":
    """Hold the one place of a rebuild of this view; RebuildRunning when it is taken."""
    connection = await postgres.connect(dsn, "replay")
    try:
        if not await connection.fetchval(TAKE, LOCK_CLASS, projection.schema):
            raise RebuildRunning(projection.name)
        yield
    finally:
        await connection.close()


@asynccontextmanager
async def holding_live(dsn: str, projection: Projection) -> AsyncIterator[None]:
    """Keep the live view where it is for a moment, on a connection of its own; its readers aren't held up."""
    connection = await open_on(dsn, projection.schema)
    try:
        async with connection.transaction():
            await lock_live(connection, projection)
            yield
    finally:
        await connection.close()


async def lock_live(connection: "Connection[Any]", projection: Projection) -> None:
    """Keep the live view where it is until the transaction ends; its readers aren't held up."""
    await connection.execute(await _formatted(connection, "select from %I.checkpoint for update", projection.schema))


async def durably(connection: "Connection[Any]") -> None:
    """Let the commit of this transaction wait for the disk: an operator is told of it."""
    await connection.execute("set local synchronous_commit to on")


async def live_position(connection: "Connection[Any]", projection: Projection) -> int:
    """Give the live view's checkpoint."""
    statement = await _formatted(connection, "select position from %I.checkpoint", projection.schema)
    position: int = await connection.fetchval(statement)
    return position


async def inherit(connection: "Connection[Any]", projection: Projection) -> None:
    """Say of the tables of the connection's search_path that they have caught up, if the live ones have."""
    statement = "update checkpoint set caught_up = caught_up or (select c.caught_up from %I.checkpoint c)"
    await connection.execute(await _formatted(connection, statement, projection.schema))


async def rename(connection: "Connection[Any]", schema: str, name: str) -> None:
    """Rename a schema."""
    await connection.execute(await _formatted(connection, "alter schema %I rename to %I", schema, name))


async def drop(connection: "Connection[Any]", schema: str) -> None:
    """Drop a schema with all that is in it, if it exists."""
    await connection.execute(await _formatted(connection, "drop schema if exists %I cascade", schema))


async def _formatted(connection: "Connection[Any]", statement: str, *names: str) -> str:
    """Let the server put identifiers into a statement, quoted."""
    formatted: str = await connection.fetchval("select format($1, variadic $2::text[])", statement, names)
    return formatted
