"""One running site for all tests of the API: each makes tools and visitors of its own."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support import servers
from tests.support.http import Site, serving


@pytest.fixture(scope="session")
def site(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database site template {template}"))
    with serving(postgres.dsn("site"), valkey_url, tmp_path_factory.mktemp("api") / "output") as made:
        yield made


@pytest.fixture
def tool(site: Site) -> str:
    """A listed tool of the test's own, by slug."""
    return site.add_tool()
