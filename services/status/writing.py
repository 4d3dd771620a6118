"""Why PostgreSQL takes no writes: found without writing anything that stays."""

from typing import Any, Final, TypeAlias

import asyncpg
from asyncpg import Connection, Pool

Database: TypeAlias = "Pool[Any] | Connection[Any]"

# The sessions that append are named `ballotpress-log`; we see what sessions of our own role wait for.
_LOOK: Final = """
with appenders as materialized (
    select pid, wait_event_type, wait_event, clock_timestamp() - query_start > interval '1 second' as is_late
    from pg_stat_activity where application_name = 'ballotpress-log' and state = 'active' and datname = current_database()
)
select pg_is_in_recovery() as is_standby,
       current_setting('default_transaction_read_only') = 'on' as is_read_only,
       exists (select from appenders where wait_event = 'SyncRep' and is_late) as awaits_standby,
       (select b.pid from appenders a, unnest(pg_blocking_pids(a.pid)) b(pid)
        where a.wait_event_type = 'Lock' limit 1) as blocker,
       (select count(*) from appenders where is_late) > 0 as is_late
"""
# Rows of a function that memory is too small for are written to the disk of the database's tables; nothing stays of them.
# Few and wide, for a megabyte of narrow ones would cost a hundred times the processor.
_LITTLE_MEMORY: Final = "set local work_mem = '64kB'; set local temp_tablespaces = ''"
_SPILL: Final = "select count(*) from unnest(array_fill(repeat('.', 1000), array[1100]))"
_NAME: Final = "select coalesce(nullif(application_name, ''), 'unnamed') from pg_stat_activity where pid = $1"

STANDBY: Final = (
    "DATABASE_URL names a standby, which takes no votes: name the primary there, best with all its standbys (db1,db2);"
    " if the primary is gone for good, promote this one (docs/operating.md, A failover)"
)
DISK_FULL: Final = "PostgreSQL's disk is full: free some space"


async def why_not(database: Database, error: Exception | None = None, *, is_stuck: bool = False) -> str | None:
    """Return why no vote can be taken; None if nothing speaks against it.

    `error` is what the last batch failed with; `is_stuck` says that batches fail or are held up, so that any lock counts.
    """
    seen = await database.fetchrow(_LOOK)
    assert seen is not None  # noqa: S101 - the statement returns one row
    if seen["is_standby"]:
        return STANDBY
    if seen["is_read_only"]:
        return "PostgreSQL is read-only (default_transaction_read_only is on), so no vote can be taken: set it to off"
    if seen["awaits_standby"]:
        return "votes wait for a synchronous standby that is gone: start it, or take it out of synchronous_standby_names"
    if seen["blocker"] is not None and (is_stuck or seen["is_late"]):
        name = await database.fetchval(_NAME, seen["blocker"])
        return (
            f"process {seen['blocker']} ({name}) holds a lock that votes wait for:"
            f" end it in psql with select pg_terminate_backend({seen['blocker']})"
        )
    return None if error is None else _said(error)


async def no_room(connection: "Connection[Any]") -> str | None:
    """Return that the disk of the tables has no room for another megabyte; None if it has. Call it within a transaction.

    A disk may have none though the server runs and answers: its log of changes can be on another one.
    """
    try:
        async with connection.transaction():
            await connection.execute(_LITTLE_MEMORY)
            await connection.execute(_SPILL)
    except asyncpg.DiskFullError:
        return DISK_FULL
    except asyncpg.ConfigurationLimitExceededError:  # temp_file_limit
        return None
    return None


def _said(error: Exception) -> str:
    if isinstance(error, asyncpg.DiskFullError):
        return DISK_FULL
    if isinstance(error, TimeoutError):
        return "the last votes could not be recorded: PostgreSQL did not answer in time"
    return f"the last votes could not be recorded: {str(error) or type(error).__name__}"
