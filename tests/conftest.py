"""Real servers for every test: one PostgreSQL and one Valkey a session, one cloned database a test."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import asyncpg
import hypothesis
import pytest

from events.log import arrays
from events.log.committer import Committer
from tests.support import hangs, loops, scratch, servers, sharing, survival
from tests.support.log import patient
from tests.support.standbys import Pair
from tests.support.survival import Place

scratch.use()
signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it is ignored, by what we start too

# A slow machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the garbage collector from what is collected: thousands of tests and modules, which stay to the end."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    gc.enable()
    return collected


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers, and put the longest first."""
    sharing.tell_apart(items)
    for item in items:
        sharing.mark(item)
    items.sort(key=sharing.rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the worker if a test takes much longer than it may: one that heard the signal failed before."""
    with hangs.ended(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose loop was closed with something open in it; end the worker if that hangs."""
    hangs.end_later(item)  # after a failure pytest has forgotten it
    try:
        return (yield)
    finally:
        loops.raise_unclosed()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.Sharing:
    """Return the schedule of `-n`."""
    return sharing.Sharing(config, log)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Async tests run on asyncio with uvloop, as the processes do."""
    return "asyncio", {"loop_factory": loops.Loop}


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """One PostgreSQL for the session; without fsync, since no test cuts the power."""
    with servers.postgres(fsync="off", full_page_writes="off") as server:
        yield server


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """One Valkey for the session."""
    with servers.valkey() as (url, _):
        yield url


@pytest.fixture(scope="session")
def template(postgres: servers.Postgres) -> str:
    """A migrated database that each test's own is cloned from."""
    asyncio.run(servers.make_template(postgres))
    return servers.TEMPLATE


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """One server with a synchronous replica for the session, which nobody kills."""
    with survival.followed() as pair:
        yield pair


@pytest.fixture
def place(request: pytest.FixtureRequest, postgres: servers.Postgres, template: str) -> Place:
    """Where a test's database is made: alone, but for one that is run behind a replica as well."""
    if not getattr(request, "param", False):
        return Place(postgres)
    pair, valkey_url, folder = map(request.getfixturevalue, ("pair", "valkey_url", "tmp_path"))
    return Place(servers.Postgres(pair.folders[0]), pair, valkey_url, folder / "apis")


@pytest.fixture
async def dsn(place: Place) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    async with place.database() as dsn:
        yield dsn


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A plain connection to the test's database."""
    connection = await asyncpg.connect(dsn)
    arrays.know(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def committer(dsn: str) -> AsyncIterator[Committer]:
    """A committer on the test's database."""
    async with patient(dsn) as committer:
        yield committer
