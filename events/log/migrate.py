"""Bring a database to the current schema: numbered SQL files, each run once, under one lock."""

from hashlib import sha256
from importlib.resources import files
from typing import Any

from asyncpg import Connection, Pool

# Any constant will do; two hosts migrating at once must ask for the same one.
_LOCK = 0x42616C6C6F7470


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
        rows = await connection.fetch("select number, digest from public.ballotpress_migrations")
        seen: dict[int, str] = {row["number"]: row["digest"] for row in rows}
        ours = _migrations()
        if seen and max(seen) > ours[-1][0]:
            raise SchemaTooNew(f"the database has migration {max(seen)}, this release knows {ours[-1][0]}; use a later release")
        for number, sql in ours:
            digest = sha256(sql.encode()).hexdigest()
            if number not in seen:
                await connection.execute(sql)
                await connection.execute(
                    "insert into public.ballotpress_migrations (number, digest) values ($1, $2)", number, digest
                )
            elif seen[number] != digest:
                raise MigrationChanged(f"migration {number} was changed after it ran; write a new one instead")
        return len(ours) - len(seen)
