"""A log with bought votes in it, made once and copied for each test: as it was before any scan, and as a scan left it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.integrity import scan
from tests.support import bought, servers
from tests.support.bought import Log
from tests.support.runners import catch_up_all
from tests.support.survival import Place


@asynccontextmanager
async def _copy(place: Place, template: str) -> AsyncIterator[Log]:
    async with place.database(template) as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            yield Log(dsn, connection)
        finally:
            await connection.close()


async def bought_log(place: Place) -> str:
    """Name a database whose log holds bought votes, with views at its head."""

    async def fill(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await bought.put(connection, bought.small_world(bought.SEED))
        await connection.close()
        await catch_up_all(dsn)

    return await place.filled("bought", fill)


@pytest.fixture
async def log(place: Place) -> AsyncIterator[Log]:
    """That log."""
    async with _copy(place, await bought_log(place)) as made:
        yield made


@pytest.fixture
async def scanned(postgres: servers.Postgres, template: str) -> AsyncIterator[Log]:
    """That log, scanned, on a server alone."""

    async def fill(dsn: str) -> None:
        await scan.scan(dsn, 0.01)

    alone = Place(postgres)
    async with _copy(alone, await alone.filled("scanned", fill, await bought_log(alone))) as made:
        yield made
