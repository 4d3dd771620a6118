"""A private PostgreSQL whose WAL is archived, as `up --archive` has it, without the rest of `up`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from services.backup.archive import keep_archive
from services.embedded.home import keep_keys, opened_home
from services.embedded.postgres import start_postgres
from services.migrate import migrate
from services.settings import Settings
from tests.support.processes import PATIENCE
from tests.support.settings import settings

CAUGHT_UP = """
select coalesce(bool_or(r.flush_lsn >= pg_current_wal_flush_lsn()), false) from pg_stat_replication r
where r.application_name = 'ballotpress/backup'
"""


class Site:
    """A home folder with a running database, and the folder of its backups."""

    def __init__(self, given: Settings, database: "asyncpg.Pool[Any]", backups: Path) -> None:
        self.settings = given
        self.database = database
        self.backups = backups

    async def archived(self) -> None:
        """Wait until all that was committed is in the archive."""
        async with asyncio.timeout(PATIENCE):
            while not await self.database.fetchval(CAUGHT_UP):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def site(folder: Path, valkey_url: str) -> AsyncIterator[Site]:
    """Run a database whose WAL is archived for a while."""
    home, backups = folder / "home", folder / "backups"
    async with opened_home(home, lambda line: None) as supervisor:
        url = await start_postgres(supervisor, keep_keys(home)["POSTGRES_PASSWORD"])
        await migrate(url)
        supervisor.publish({"DATABASE_URL": url, "REDIS_URL": valkey_url})
        given = settings(url, valkey_url, home=home, base_url="https://verdicts.example", archive_folder=backups)
        await keep_archive(supervisor, given)
        async with asyncpg.create_pool(url, min_size=0, max_size=6, server_settings={"timezone": "UTC"}) as pool:
            yield Site(given, pool, backups)
