"""What every command owes: help, and failures of one line."""

import json

import pytest

from services.cli import COMMANDS
from tests.support.shell import Shell

SUBCOMMANDS = (
    ("catalog", "import"),
    ("voters", "void"),
    ("voters", "reinstate"),
    ("visitors", "erase"),
    ("quarantine", "list"),
    ("quarantine", "drop"),
    ("keys", "rewrap"),
    ("keys", "sweep"),
    ("events", "tail"),
    ("events", "export"),
    ("events", "import"),
    ("explain", "tally"),
    ("explain", "tool"),
    ("explain", "review"),
)


@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    """`--help` gives a command's name and purpose, and needs no settings."""
    from click.testing import CliRunner

    from services.cli import commands

    ran = CliRunner().invoke(commands, [*words, "--help"], prog_name="ballotpress", env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    assert f"ballotpress {' '.join(words)}" in ran.output
    assert "--help" in ran.output


async def test_a_database_that_is_not_there_is_one_line(shell: Shell) -> None:
    """A server that can't be reached, and a variable that is wrong, are one line each and status 1."""
    shell("quarantine", "list", DATABASE_URL="postgresql://x@/x?host=/nowhere").failed("PostgreSQL")
    shell("status", DATABASE_URL="mysql://x").failed("DATABASE_URL")


async def test_a_database_without_schema_says_what_to_do(shell: Shell, postgres_url: str) -> None:
    """`status` reports a database that was never migrated; other commands say what to run first."""
    status = json.loads(shell("status", "--json", status=1, DATABASE_URL=postgres_url).out)
    assert status["head"] is None
    assert "run `ballotpress migrate`" in [problem["advice"] for problem in status["problems"]]
    shell("events", "tail", "--no-follow", DATABASE_URL=postgres_url).failed("ballotpress migrate")


@pytest.fixture
def postgres_url(postgres: object) -> str:
    """A database without our schema."""
    url: str = postgres.dsn()  # type: ignore[attr-defined]
    return url
