"""One running site for all tests of its public log; whoever changes something adds to it."""

from collections.abc import Iterator

import pytest

from tests.support import servers
from tests.support.live_log import Live, living


@pytest.fixture(scope="session")
def live(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """The site."""
    with living(postgres, template, valkey_url, tmp_path_factory.mktemp("live")) as live:
        yield live
