"""What every command owes: help, and failures of one line."""

import json
import re

import pytest

from services.cli import COMMANDS
from tests.support import servers
from tests.support.settings import clean_environ
from tests.support.shell import Ran, Shell, run_inside

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


WRONG = {
    ("events", "tail", "--from", "abc"): "'abc' is not a whole number from 1",
    ("api", "--port", "70000"): "'70000' is not a whole number from 1 to 65535",
    ("events", "export", "-", "--from", "20", "--to", "10"): "--to 10 is before --from 20",
    ("statsu",): "No such command 'statsu'. Did you mean 'status'?",
    ("events", "exprot"): "Did you mean 'export'?",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_word_is_answered_in_ours(words: tuple[str, ...]) -> None:
    """What was mistyped is said in plain words, with what is near or right."""
    Ran(run_inside(words, b"", clean_environ())).failed(WRONG[words], status=2)


def test_settings_are_listed() -> None:
    """`ballotpress settings` has every variable with its meaning and default, without a site."""
    ran = Ran(run_inside(("settings",), b"", clean_environ()))
    assert ran.status == 0
    listed = re.findall(r"[A-Z]+_URL|BALLOTPRESS_\w+", ran.out)
    assert {"DATABASE_URL", "SMTP_URL", "BALLOTPRESS_HOME", "BALLOTPRESS_DKIM_KEY_FILE"} <= set(listed)
    assert "BALLOTPRESS_HOME\n    folder of all that up keeps  [default: .ballotpress]\n" in ran.out


async def test_migrate_says_what_it_did(shell: Shell, postgres: servers.Postgres) -> None:
    """On an empty database `migrate` tells how many migrations ran; the second time, that there was nothing to do."""
    async with servers.database(postgres) as dsn:
        assert re.match(r"Ran \d+ migrations; the database has the current schema", shell("migrate", DATABASE_URL=dsn).out)
        assert shell("migrate", DATABASE_URL=dsn).out == "Nothing to do: the database has the current schema\n"
