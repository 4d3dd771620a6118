"""A newsroom for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.settings import Newsletter
from tests.support.newsroom import Newsroom, newsroom
from tests.support.sending import EDITOR
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client


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


@pytest.fixture
async def http(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of an operator who has signed in."""
    given = settings(dsn, valkey_url, home=tmp_path, operator_tokens=(EDITOR,))
    cookie = await session_cookie(given, EDITOR)
    async with client(given) as made:
        made.headers.update({"cookie": cookie, "sec-fetch-site": "same-origin"})
        yield made
