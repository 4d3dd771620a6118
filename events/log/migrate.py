"""Bring a database to the current schema: numbered SQL files, each run once, under one lock.

All that are missing run in one transaction. Those that begin with `CONCURRENTLY` run after it, a statement at a time, so that
votes go on while an index of the log is made.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from asyncpg import Connection, Pool

# Any constant will do; two hosts migrating at once must ask for the same one.
_LOCK = 0x42616C6C6F7470
_LOCK_BESIDE: Final = _LOCK + 1

CONCURRENTLY: Final = "-- concurrently\n"
_PAUSE_SECONDS: Final = 0.2
_RECORD: Final = "insert into public.ballotpress_migrations (number, digest) values ($1, $2)"
# What a build that was cut short leaves: an index that is kept up to date and never used.
_UNFINISHED: Final = """
select format('%I.%I', n.nspname, c.relname) as name
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where not i.indisvalid and i.indrelid = 'log.events'::regclass
"""


class SchemaTooNew(Exception):
    """The database was migrated by a later release."""


class MigrationChanged(Exception):
    """A migration file differs from the one that ran."""


def _migrations() -> list[tuple[int, str]]:
    found = [f for f in (files("events.log") / "migrations").iterdir() if f.name.endswith(".sql")]
    return sorted((int(f.name[:4]), f.read_text("utf-8")) for f in found)


def current() -> int:
    """Return the number of this release's last migration."""
    return _migrations()[-1][0]


async def migrated(connection: "Connection[Any] | Pool[Any]") -> int:
    """Return the number of the last migration that ran on this database; 0 for an empty database."""
    if await connection.fetchval("select to_regclass('public.ballotpress_migrations')") is None:
        return 0
    number: int = await connection.fetchval("select coalesce(max(number), 0) from public.ballotpress_migrations")
    return number


async def migrate(connection: "Connection[Any]") -> int:
    """Run the missing migrations; return their number. Safe to run twice and from two hosts at once.

    Raises SchemaTooNew or MigrationChanged if this release can't bring the database forward.
    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(
            "create table if not exists public.ballotpress_migrations"
            " (number integer primary key, digest text not null, ran_at timestamptz not null default now())"
        )
        missing = await _missing(connection)
        together = [one for one in missing if not one[1].startswith(CONCURRENTLY)]
        for number, sql in together:
            await connection.execute(sql)
            await connection.execute(_RECORD, number, _digest(sql))
    return len(together) + (await _run_beside(connection) if len(together) < len(missing) else 0)


async def _run_beside(connection: "Connection[Any]") -> int:
    """Run the missing migrations that take no transaction; return their number.

    The lock is asked for again and again: a build waits for every transaction, also for one that waits for its own lock.
    """
    while not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK_BESIDE):
        await asyncio.sleep(_PAUSE_SECONDS)
    try:
        missing = await _missing(connection)
        for row in await connection.fetch(_UNFINISHED) if missing else ():
            await connection.execute(f"drop index concurrently {row['name']}")
        for number, sql in missing:
            for statement in filter(str.strip, sql.split(";\n")):
                await connection.execute(statement)
            await connection.execute(_RECORD, number, _digest(sql))
        return len(missing)
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK_BESIDE)


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
