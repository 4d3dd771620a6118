"""A private database whose WAL is archived, in a folder of its own."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.private_site import Site, site


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """asyncio's own loop, as commands have it: uvloop starts no process as another user."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the servers' user may pass through: pytest's own are closed again when another session starts."""
    made = Path(tempfile.mkdtemp(prefix="bp-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def live(request: pytest.FixtureRequest, folder: Path, valkey_url: str) -> AsyncIterator[Site]:
    """A database whose WAL is archived; behind a replica too, where a test is run so as well."""
    async with site(folder, valkey_url, replicated=getattr(request, "param", False)) as made:
        yield made
