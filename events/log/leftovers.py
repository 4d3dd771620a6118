"""Remove the bytes of destroyed keys from the database's files: PostgreSQL leaves a deleted row where it was, and in its WAL.

The vault is in parts, and a part is written anew by itself: nobody waits for all of it, and what is left goes with the next
run. Backups and archived WAL are out of reach: `keys rewrap`, and the old vault key destroyed, makes those unreadable.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec
from asyncpg import Connection, Pool

from events.log import postgres

Database: TypeAlias = "Connection[Any] | Pool[Any]"

WAITS_MS: Final = 500
"""Longest wait for a part's lock; whoever reads or stores a key there waits behind it."""
UNNOTICED: Final = 1.5
"""Seconds that a part may be locked for without anybody's write failing: an appender waits for two."""

# A row is removed once every snapshot is younger than its end.
READ_PARTS = """
with oldest as materialized (
    select max(age(backend_xmin)) as age from pg_stat_activity where pid <> pg_backend_pid() and backend_xmin is not null
)
select l.part, format('vacuum (full, analyze) vault.%I', l.part) as rewrite,
       coalesce(array_agg(l.by::text) filter (where o.age is null or age(l.by::xid) > o.age), '{}') as unseen,
       coalesce(bool_or(age(l.by::xid) <= o.age), false) as is_seen
from vault.leftovers l cross join oldest o
group by l.part order by min(l.since), l.part
"""
SET_LIMIT = "select set_config('statement_timeout', $1, false)"
FORGET = "delete from vault.leftovers where part = $1 and by = any($2::text[]::xid8[])"
# What was written before the checkpoint is needed no more, and a file of the WAL is removed as a whole.
LEAVE_WAL = ("select pg_switch_wal()", "checkpoint")
READ_SINCE = "select coalesce(extract(epoch from now() - min(since)), 0)::float8 from vault.leftovers"

Report = Callable[[int, int], None]

logger = logging.getLogger(__name__)


class Swept(msgspec.Struct, frozen=True):
    """How many parts of the vault were written anew, and how many may still hold destroyed keys, being in use."""

    parts: int
    left: int


async def remove_leftovers(dsn: str, seconds: float | None = UNNOTICED, report: Report = lambda done, of: None) -> Swept:
    """Write each part anew in which a key was destroyed or wrapped anew, and drop the WAL that has those keys.

    A part is left to the next run where that takes longer than `seconds`, where its lock isn't free in time, and where
    somebody's old snapshot still sees such a key.
    """
    connection = await postgres.connect(dsn, "worker", lock_timeout=str(WAITS_MS))
    try:
        parts = await connection.fetch(READ_PARTS)
        written, left = 0, 0
        for done, part in enumerate(parts, 1):
            is_written = bool(part["unseen"]) and await _write_anew(connection, part, seconds)
            written += is_written
            left += part["is_seen"] or not is_written
            report(done, len(parts))
        if written:
            await _leave_wal(connection)
        return Swept(written, left)
    finally:
        await connection.close()


async def leftover_seconds(database: Database) -> float:
    """Return for how long a destroyed key may have been on disk by now; 0 if none is."""
    seconds: float = await database.fetchval(READ_SINCE)
    return seconds


async def _write_anew(connection: "Connection[Any]", part: asyncpg.Record, seconds: float | None) -> bool:
    """Write a part anew, and return whether that was done in time."""
    await connection.execute(SET_LIMIT, str(int((seconds or 0) * 1000)))
    try:
        await connection.execute(part["rewrite"])
    except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError) as error:
        logger.warning("destroyed keys are still in %s (%s): run `ballotpress keys sweep` at a quiet hour", part["part"], error)
        return False
    finally:
        await connection.execute(SET_LIMIT, "0")
    await connection.execute(FORGET, part["part"], part["unseen"])
    return True


async def _leave_wal(connection: "Connection[Any]") -> None:
    """Begin a new file of the WAL, and let go of those before it, where our role may."""
    try:
        for statement in LEAVE_WAL:
            await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        logger.info("the WAL keeps destroyed keys until PostgreSQL recycles it: %s", error)
