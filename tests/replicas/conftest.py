"""One primary with two replicas for the whole room, and a database of its own for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.replicas.readers import Readers, replicas_of
from tests.support import servers
from tests.support.http import Site, serving
from tests.support.replicas import Cluster, Open, cluster, reading
from tests.support.shell import Shell


@pytest.fixture(scope="session")
def servers_at_hand() -> Iterator[Cluster]:
    """The primary and its replicas; with fsync off, since no test cuts the power."""
    with cluster(fsync="off", full_page_writes="off") as made:
        asyncio.run(servers.make_template(made.primary))
        yield made


@pytest.fixture
async def ours(servers_at_hand: Cluster) -> Cluster:
    """The servers as they should be: both replicas run and follow."""
    await servers_at_hand.mend()
    return servers_at_hand


@pytest.fixture
async def dsn(ours: Cluster) -> AsyncIterator[str]:
    """A migrated database of the test's own, at the primary; both replicas have it."""
    async with servers.database(ours.primary, servers.TEMPLATE) as dsn:
        await ours.in_step()
        yield dsn


@pytest.fixture
def readers(ours: Cluster, dsn: str) -> Open:
    """Opens what a process reads through."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Readers]:
        async with reading(dsn, replicas_of(ours.url(servers.name_of(dsn)), 1)) as made:
            yield made

    return opened


@pytest.fixture(scope="session")
def site(servers_at_hand: Cluster, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running site whose API reads at the replicas."""
    asyncio.run(servers.execute(servers_at_hand.primary.dsn(), f"create database site template {servers.TEMPLATE}"))
    log = tmp_path_factory.mktemp("api") / "output"
    replicas = {"READ_DATABASE_URL": servers_at_hand.url("site"), "BALLOTPRESS_READ_LAG_SECONDS": "1"}
    with serving(servers_at_hand.primary.dsn("site"), valkey_url, log, **replicas) as made:
        yield made


@pytest.fixture
def shell(servers_at_hand: Cluster, valkey_url: str, tmp_path: Path) -> Shell:
    """An operator's shell beside the site."""
    made = Shell(tmp_path / "home", servers_at_hand.primary.dsn("site"), valkey_url)
    made.environ["READ_DATABASE_URL"] = servers_at_hand.url("site")
    return made
