"""Remove the bytes of destroyed keys from the database's files: PostgreSQL leaves a deleted row where it was, and in its WAL.

Backups and archived WAL are out of reach: `keys rewrap`, and the old vault key destroyed, makes those unreadable.
"""

import logging
from typing import Any, Final

import asyncpg
from asyncpg import Connection

from events.log import postgres

WAITS_MS: Final = 500
"""Longest wait for the table's lock; whoever reads or stores a key waits behind it."""
UNNOTICED: Final = 1.5
"""Seconds that keys may be locked for without anybody's write failing: an appender waits for two."""

READ_BY = "select by from vault.leftovers"

# A row is removed once every snapshot is younger than its end.
IS_SEEN = """
select exists (
    select from pg_stat_activity
    where pid <> pg_backend_pid() and backend_xmin is not null and age(backend_xmin) >= age($1::xid8::xid)
)
"""
SET_LIMIT = "select set_config('statement_timeout', $1, false)"
REWRITE = "vacuum (full, analyze) vault.keys"
FORGET = "update vault.leftovers set by = null where by = $1"
# What was written before the checkpoint is needed no more, and a file of the WAL is removed as a whole.
LEAVE_WAL = ("select pg_switch_wal()", "checkpoint")

logger = logging.getLogger(__name__)


async def remove_leftovers(dsn: str, seconds: float | None = UNNOTICED) -> bool:
    """Write the table of keys anew if any was destroyed or wrapped anew since, and drop the WAL that has them; return whether.

    Where that takes longer than `seconds`, the lock isn't free in time, or somebody's old snapshot still sees such a key, the
    rest is left to the next run.
    """
    connection = await postgres.connect(dsn, "worker", lock_timeout=str(WAITS_MS))
    try:
        by = await connection.fetchval(READ_BY)
        if by is None:
            return False
        seen: bool = await connection.fetchval(IS_SEEN, by)
        try:
            await connection.execute(SET_LIMIT, str(int((seconds or 0) * 1000)))
            await connection.execute(REWRITE)
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
            logger.warning("destroyed keys are still on disk (%s): run `ballotpress keys sweep` at a quiet hour", error)
            return False
        if not seen:
            await connection.execute(FORGET, by)
        await connection.execute(SET_LIMIT, "0")
        await _leave_wal(connection)
        return not seen
    finally:
        await connection.close()


async def _leave_wal(connection: "Connection[Any]") -> None:
    """Begin a new file of the WAL, and let go of those before it, where our role may."""
    try:
        for statement in LEAVE_WAL:
            await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        logger.info("the WAL keeps destroyed keys until PostgreSQL recycles it: %s", error)
