"""A log with bought votes in it, made once and copied for each test: as it was before any scan, and as a scan left it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.integrity import scan
from tests.support import bought, servers
from tests.support.bought import Log
from tests.support.runners import catch_up_all


@asynccontextmanager
async def _copy(postgres: servers.Postgres, template: str) -> AsyncIterator[Log]:
    async with servers.database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            yield Log(dsn, connection)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def bought_log(postgres: servers.Postgres, template: str) -> str:
    """Name a database whose log holds bought votes, with views at its head."""

    async def fill(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await bought.put(connection, bought.small_world(bought.SEED))
        await connection.close()
        await catch_up_all(dsn)

    return servers.filled(postgres, "bought", template, fill)


@pytest.fixture(scope="session")
def scanned_log(postgres: servers.Postgres, bought_log: str) -> str:
    """Name a database with that log, scanned."""

    async def fill(dsn: str) -> None:
        await scan.scan(dsn, 0.01)

    return servers.filled(postgres, "scanned", bought_log, fill)


@pytest.fixture
async def log(postgres: servers.Postgres, bought_log: str) -> AsyncIterator[Log]:
    """That log."""
    async with _copy(postgres, bought_log) as made:
        yield made


@pytest.fixture
async def scanned(postgres: servers.Postgres, scanned_log: str) -> AsyncIterator[Log]:
    """That log, scanned."""
    async with _copy(postgres, scanned_log) as made:
        yield made
