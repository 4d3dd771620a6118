"""A private database whose WAL is archived, in a folder of its own."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.private_site import Site, make_home, site


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """asyncio's own loop, as commands have it: uvloop starts no process as another user."""
    return "asyncio", {"use_uvloop": False}


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that the servers' user may pass through: pytest's own are closed again when another session starts."""
    made = Path(tempfile.mkdtemp(prefix="bp-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Such a folder."""
    with _folder() as made:
        yield made


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A home folder with a database, for copies."""
    with _folder() as made:
        asyncio.run(make_home(made / "home"))
        yield made / "home"


@pytest.fixture
async def live(request: pytest.FixtureRequest, home: Path, folder: Path, valkey_url: str) -> AsyncIterator[Site]:
    """A database whose WAL is archived; behind a replica too, where a test is run so as well."""
    async with site(home, folder, valkey_url, replicated=getattr(request, "param", False)) as made:
        yield made
