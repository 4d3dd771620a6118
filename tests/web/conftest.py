"""One running site for all tests of the API: each makes tools and visitors of its own."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from tests.support import servers
from tests.support.http import Site, own_database_name, running


@pytest.fixture(scope="session")
def site(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site."""
    name = own_database_name()

    async def make() -> None:
        server = await asyncpg.connect(postgres.dsn())
        await server.execute(f"create database {name} template {template}")
        await server.close()

    asyncio.run(make())
    with running(postgres.dsn(name), valkey_url, tmp_path_factory.mktemp("api") / "output") as made:
        yield made


@pytest.fixture
def tool(site: Site) -> str:
    """A listed tool of the test's own, by slug."""
    return site.add_tool()
