"""A newsroom for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.settings import Newsletter, Settings
from tests.support.newsroom import Newsroom, newsroom


@pytest.fixture
async def room(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Newsroom]:
    """A newsroom on the test's own database."""
    given = Settings(
        database_url=dsn,
        redis_url=valkey_url,
        home=tmp_path,
        base_url="https://verdicts.example",
        secret_keys=("first-secret-key-of-32-characters",),
        vault_keys=("A" * 43 + "=",),
        newsletter=Newsletter(sender="Verdicts <digest@verdicts.example>"),
    )
    async with newsroom(given) as opened:
        yield opened
