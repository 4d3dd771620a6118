"""A private PostgreSQL whose WAL is archived, as `up --archive` has it, without the rest of `up`."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from events.log import postgres
from services.backup.archive import keep_archive
from services.embedded.account import server_account
from services.embedded.home import keep_keys, opened_home
from services.embedded.postgres import start_postgres
from services.migrate import migrate
from services.settings import Settings
from tests.support import servers, standbys
from tests.support.processes import PATIENCE
from tests.support.settings import settings
from tests.support.survival import two_apis

CAUGHT_UP = """
select coalesce(bool_or(r.flush_lsn >= pg_current_wal_flush_lsn()), false) from pg_stat_replication r
where r.application_name = 'ballotpress/backup'
"""


class Site:
    """A home folder with a running database, and the folder of its backups."""

    def __init__(self, given: Settings, database: "asyncpg.Pool[Any]", backups: Path, *, is_replicated: bool) -> None:
        self.settings = given
        self.database = database
        self.backups = backups
        self.is_replicated = is_replicated

    async def archived(self) -> None:
        """Wait until all that was committed is in the archive."""
        async with asyncio.timeout(PATIENCE):
            while not await self.database.fetchval(CAUGHT_UP):
                await asyncio.sleep(0.02)


async def make_home(home: Path) -> None:
    """Make a home folder with a migrated database, which doesn't run."""
    async with opened_home(home, lambda line: None) as supervisor:
        await migrate(await start_postgres(supervisor, keep_keys(home)["POSTGRES_PASSWORD"]))


@asynccontextmanager
async def site(made: Path, folder: Path, valkey_url: str, *, replicated: bool = False) -> AsyncIterator[Site]:
    """Run a copy of a home folder, and have its WAL archived, for a while.

    A replicated one waits for a replica, and has two API processes.
    """
    home, backups = folder / "home", folder / "backups"
    await asyncio.to_thread(subprocess.run, ("cp", "-a", made, home), check=True)
    async with opened_home(home, lambda line: None) as supervisor, AsyncExitStack() as stack:
        url = await start_postgres(supervisor, keep_keys(home)["POSTGRES_PASSWORD"])
        if replicated:
            url = await stack.enter_async_context(_replicated(url, home, folder / "replica"))
            await stack.enter_async_context(two_apis(url, valkey_url, folder / "apis", BALLOTPRESS_HOME=str(home)))
        supervisor.publish({"DATABASE_URL": url, "REDIS_URL": valkey_url})
        given = settings(url, valkey_url, home=home, base_url="https://verdicts.example", archive_folder=backups)
        await keep_archive(supervisor, given)
        async with postgres.pool(url, "web", size=6, seconds=PATIENCE) as pool:
            yield Site(given, pool, backups, is_replicated=replicated)


@asynccontextmanager
async def _replicated(url: str, home: Path, replica: Path) -> AsyncIterator[str]:
    """Have all commits of a home folder's database wait for a replica, for a while; give a URL that names both servers."""
    standbys.copy(f"{url}&application_name={standbys.STANDBY}", replica, server_account(home / "postgres"))
    process = servers.restart_postgres(replica)
    try:
        await standbys.follows(url, synchronous=True)
        yield url.replace("&port=", f",{replica}&port=") + "&target_session_attrs=read-write"
    finally:
        process.kill()
        process.wait()
