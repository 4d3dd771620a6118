"""A provider of sign-ins, and a browser of a site whose operators sign in there."""

from collections.abc import AsyncIterator, Iterator

import pytest

from services.operators import provider as providers
from services.settings import Settings
from tests.support.oidc import Provider, providing
from tests.support.oidc_browser import TOKEN, Browser, browsing
from tests.support.settings import settings


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider."""
    with providing() as made:
        yield made


@pytest.fixture
def given(dsn: str, valkey_url: str, provider: Provider) -> Settings:
    """The settings of a site whose operators sign in there."""
    return settings(dsn, valkey_url, operator_tokens=(TOKEN,), signing_in=provider.given)


@pytest.fixture
async def browser(given: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """A browser."""
    monkeypatch.setattr(providers, "PAUSE_SECONDS", 0.0)
    async with browsing(given, provider) as made:
        yield made
