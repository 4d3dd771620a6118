"""What the tests of the commands share: a shell, a small catalog, votes, and views that follow when told."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from events.ballots import Choice
from events.commands.ballots import CastVote
from events.log import ids
from events.log.committer import Committer
from services.cli.catalog import import_catalog
from services.settings import read_settings
from tests.support import servers
from tests.support.catalogs import opinion, tool
from tests.support.runners import catch_up_all
from tests.support.shell import Follow, Shell, Vote


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database."""
    return Shell(tmp_path / "home", dsn, valkey_url)


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    """A catalog of two tools and their comparison: five events."""
    file = tmp_path / "catalog.json"
    catalog = {
        "tools": [tool(slug, panel=[opinion()]) for slug in ("alpha", "beta")],
        "comparisons": [{"left": "alpha", "right": "beta"}],
    }
    file.write_text(json.dumps(catalog))
    return file


@pytest.fixture
async def catalog(shell: Shell, catalog_file: Path) -> int:
    """The imported catalog; return its number of events."""
    return await import_catalog(read_settings(shell.environ), catalog_file)


@pytest.fixture
async def empty(postgres: servers.Postgres, template: str) -> AsyncIterator[str]:
    """A second database, with our schema and nothing in it."""
    async with servers.database(postgres, template) as dsn:
        yield dsn


@pytest.fixture
def vote(committer: Committer) -> Vote:
    """Cast a vote on a tool for each of some new voters; return their ids."""

    async def cast(slug: str, choices: Sequence[Choice]) -> list[str]:
        voters = [ids.new_id(1_800_000_000_000 + n, os.urandom(10)) for n in range(len(choices))]
        for voter, choice in zip(voters, choices, strict=True):
            await committer.submit(CastVote(voter, slug, choice))
        return voters

    return cast


@pytest.fixture
def follow(dsn: str) -> Follow:
    """Bring every view up with the log."""

    async def up() -> None:
        await catch_up_all(dsn)

    return up
