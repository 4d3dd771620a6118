"""A newsroom for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.settings import Newsletter
from tests.support.newsroom import Newsroom, newsroom
from tests.support.settings import settings


@pytest.fixture
async def room(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Newsroom]:
    """A newsroom on the test's own database."""
    given = settings(
        dsn,
        valkey_url,
        home=tmp_path,
        base_url="https://verdicts.example",
        newsletter=Newsletter(sender="Verdicts <digest@verdicts.example>"),
    )
    async with newsroom(given) as opened:
        yield opened
