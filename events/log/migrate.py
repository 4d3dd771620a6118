"""Bring a database to the current schema: numbered SQL files, each run once, under one lock.

They run in order. Those that follow each other are one transaction, but for those that begin with `CONCURRENTLY`: these run a
statement at a time, so that votes go on while an index of the log is made, or the log is taken into parts.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import takewhile
from time import monotonic
from typing import Any, Final

import asyncpg
from asyncpg import Connection

from events.log import citus
from events.log.parts import PART_SIZE
from events.log.reads import Reads

# Any constant will do; two hosts migrating at once must ask for the same one.
_LOCK = 0x42616C6C6F7470
_LOCK_BESIDE: Final = _LOCK + 1

CONCURRENTLY: Final = "-- concurrently\n"
_PAUSE_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 300.0
"""How long a statement that must not hold votes up is tried again and again: each try waits for a moment only."""
_SET_PART_SIZE: Final = "select set_config('ballotpress.part_size', $1, false)"
_WHO: Final = """
select string_agg(distinct coalesce(nullif(a.application_name, ''), 'unnamed') || ' (pid ' || a.pid || ')', ', ')
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.granted and l.pid <> pg_backend_pid() and l.relation = any(array['log.events', 'log.recorded_events']::regclass[])
"""
_RECORD: Final = "insert into public.ballotpress_migrations (number, digest) values ($1, $2)"
# What a build that was cut short leaves: an index that is kept up to date and never used.
_UNFINISHED: Final = """
select format('%I.%I', n.nspname, c.relname) as name
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not i.indisvalid and c.relkind = 'i'
  and i.indrelid = any(array(select relid::oid from pg_partition_tree('log.events')) || 'log.events'::regclass::oid)
"""


class SchemaTooNew(Exception):
    """The database was migrated by a later release."""


class MigrationChanged(Exception):
    """A migration file differs from the one that ran."""


class LogInUse(Exception):
    """Somebody reads the log for so long that it can't be taken into parts; votes go on, and nothing is half done."""


def _migrations() -> list[tuple[int, str]]:
    found = [f for f in (files("events.log") / "migrations").iterdir() if f.name.endswith(".sql")]
    return sorted((int(f.name[:4]), f.read_text("utf-8")) for f in found)


def current() -> int:
    """Return the number of this release's last migration."""
    return _migrations()[-1][0]


async def migrated(connection: Reads) -> int:
    """Return the number of the last migration that ran on this database; 0 for an empty database."""
    if await connection.fetchval("select to_regclass('public.ballotpress_migrations')") is None:
        return 0
    number: int = await connection.fetchval("select coalesce(max(number), 0) from public.ballotpress_migrations")
    return number


async def migrate(connection: "Connection[Any]", part_size: int = PART_SIZE) -> int:
    """Run the missing migrations; return their number. Safe to run twice and from two hosts at once.

    A log that isn't in parts yet is taken into parts of `part_size` positions. Raises SchemaTooNew or MigrationChanged if this
    release can't bring the database forward, and LogInUse.
    """
    await connection.execute(_SET_PART_SIZE, str(part_size))
    ran = 0
    while True:
        together, are_more = await _run_together_again(connection)
        ran += together
        if not are_more:
            return ran
        ran += await _run_beside(connection)


async def _run_together_again(connection: "Connection[Any]") -> tuple[int, bool]:
    """Run the missing migrations that are one transaction, anew where a process that reads beside it ended it by a deadlock."""
    until = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await _run_together(connection)
        except asyncpg.DeadlockDetectedError:
            if monotonic() > until:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _run_together(connection: "Connection[Any]") -> tuple[int, bool]:
    """Run the missing migrations up to the next that takes no transaction; return their number, and whether there is one."""
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists public.ballotpress_migrations"
            " (number integer primary key, digest text not null, ran_at timestamptz not null default now())"
        )
        missing = await _missing(connection)
        together = list(takewhile(lambda one: not _is_beside(one), missing))
        for number, sql in together:
            await connection.execute(sql)
            await connection.execute(_RECORD, number, _digest(sql))
        if together and await citus.is_spread(connection):
            await citus.renew(connection)
    return len(together), len(together) < len(missing)


async def _run_beside(connection: "Connection[Any]") -> int:
    """Run the next missing migrations that take no transaction; return their number.

    The lock is asked for again and again: a build waits for every transaction, also for one that waits for its own lock.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK_BESIDE):
        await asyncio.sleep(_PAUSE_SECONDS)
    try:
        beside = list(takewhile(_is_beside, await _missing(connection)))
        for row in await connection.fetch(_UNFINISHED) if beside else ():
            await connection.execute(f"drop index concurrently {row['name']}")
        for number, sql in beside:
            for statement in filter(str.strip, sql.split(";\n")):
                await _execute_patiently(connection, statement)
            await connection.execute(_RECORD, number, _digest(sql))
        return len(beside)
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK_BESIDE)


def _is_beside(migration: tuple[int, str]) -> bool:
    return migration[1].startswith(CONCURRENTLY)


async def _execute_patiently(connection: "Connection[Any]", statement: str) -> None:
    """Run a statement, again and again while it gives up so that votes don't wait behind it. Raises LogInUse."""
    until = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            await connection.execute(statement)
            return
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError):
            if monotonic() > until:
                who = await connection.fetchval(_WHO) or "somebody"
                raise LogInUse(
                    f"The log can't be taken into parts while {who} reads it. Votes go on, and nothing is half done: "
                    "wait until that is done or end it, then run `ballotpress migrate` again"
                ) from None
        await asyncio.sleep(_PAUSE_SECONDS)


async def _missing(connection: "Connection[Any]") -> Sequence[tuple[int, str]]:
    """Return the migrations that haven't run yet. Raises SchemaTooNew, MigrationChanged."""
    rows = await connection.fetch("select number, digest from public.ballotpress_migrations")
    seen: dict[int, str] = {row["number"]: row["digest"] for row in rows}
    ours = _migrations()
    if seen and max(seen) > ours[-1][0]:
        raise SchemaTooNew(f"the database has migration {max(seen)}, this release knows {ours[-1][0]}; use a later release")
    for number, sql in ours:
        if seen.get(number, _digest(sql)) != _digest(sql):
            raise MigrationChanged(f"migration {number} was changed after it ran; write a new one instead")
    return [one for one in ours if one[0] not in seen]


def _digest(sql: str) -> str:
    return sha256(sql.encode()).hexdigest()
