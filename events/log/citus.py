"""The log on Citus: its table is spread over several servers by stream; all else stays on the coordinator.

It gives room, not votes a second. `citus.sql` says how the log is read there, and what is done about a head that is seen before
its events.
"""

from importlib.resources import files
from typing import Any, Final

from asyncpg import Connection

SHARDS: Final = 32

_LOCK: Final = 0x6369747573

_VERSION: Final = "select extversion from pg_extension where extname = 'citus'"
_NODES: Final = "select count(*) from pg_dist_node where isactive and shouldhaveshards and noderole = 'primary'"
_IS_SPREAD: Final = "select exists (select from pg_dist_partition where logicalrelid = 'log.events'::regclass)"

# For sessions opened from now on. Without the first, Citus filters what a driver asks the catalog, which takes seconds.
_SET: Final = """
do $$
begin
    execute format('alter database %I set citus.override_table_visibility = off', current_database());
    execute format('alter database %I set citus.enable_unsafe_triggers = on', current_database());
end $$
"""
# Some statements ask it beside the events, so each server needs it; nothing of a spread log is ever in the archive.
_ON_SERVERS: Final = """
select run_command_on_workers($$
    create or replace function log.must_be_here(low bigint, high bigint) returns boolean
    language sql immutable as 'select true' $$)
"""
_SPREAD: Final = "select create_distributed_table('log.events', 'stream', shard_count := $1)"


class CitusMissing(Exception):
    """This server can't spread the log; the message says what to do."""


class LogNotEmpty(Exception):
    """The log holds events already, so it can't be spread where it is; the message says what to do."""


async def is_spread(connection: "Connection[Any]") -> bool:
    """Return whether this database's log is spread over several servers."""
    if await connection.fetchval(_VERSION) is None:
        return False
    spread: bool = await connection.fetchval(_IS_SPREAD)
    return spread


async def renew(connection: "Connection[Any]") -> None:
    """Put the functions for Citus in the place of those that a migration made, in its own transaction: none is ever missing."""
    await make_functions(connection)
    await connection.execute(_ON_SERVERS)


async def make_functions(connection: "Connection[Any]") -> None:
    """Make the functions by which a spread log is read; what this does is plain PostgreSQL."""
    await connection.execute(_sql("citus.sql"))


async def spread(connection: "Connection[Any]", shards: int = SHARDS) -> bool:
    """Spread an empty log over the servers that Citus knows; return False if it is spread already.

    All of it happens, or nothing. Safe to run twice and from two hosts at once. Raises CitusMissing, LogNotEmpty.
    """
    await _must_be_able(connection)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        if await is_spread(connection):
            await renew(connection)
            return False
        if head := await connection.fetchval("select position from log.head for update"):
            raise LogNotEmpty(
                f"The log holds {head} events, and only an empty one can be spread over several servers: `ballotpress events"
                " export` it, make a new database with Citus, run `ballotpress migrate --citus` and `ballotpress events import`"
            )
        await connection.execute("set local citus.enable_unsafe_triggers = on")  # the one that refuses changes, on every server
        await prepare(connection)
        await connection.execute(_SPREAD, shards)
        await connection.execute(_ON_SERVERS)
        await connection.execute(_SET)
    return True


async def prepare(connection: "Connection[Any]") -> None:
    """Give an empty log the table and the functions that Citus needs; what this does is plain PostgreSQL."""
    await connection.execute(_sql("citus_table.sql"))
    await make_functions(connection)


async def _must_be_able(connection: "Connection[Any]") -> None:
    if await connection.fetchval(_VERSION) is None:
        raise CitusMissing(
            "This database has no Citus: install it on every server, name it in shared_preload_libraries, run `create extension"
            " citus` in this database and add the servers with citus_add_node (docs/citus.md). Without it, leave --citus out"
        )
    if not await connection.fetchval(_NODES):
        raise CitusMissing(
            "Citus knows of no server that takes a part of the log: add them by citus_add_node (docs/citus.md) and try again"
        )


def _sql(name: str) -> str:
    return (files("events.log") / name).read_text("utf-8")
