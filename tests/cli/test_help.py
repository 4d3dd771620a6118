"""What every command owes: help, and failures of one line."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich_click as click
from click.testing import CliRunner

from services.cli import commands
from services.cli.examples import EXAMPLES
from tests.support import servers
from tests.support.settings import clean_environ
from tests.support.shell import Ran, Shell, run_inside


def named(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Return every command below a group with the words that name it."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from named(command, (*path, name))


ALL = dict(named(commands))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    """`--help` gives a command's name and purpose, its examples line by line, and needs no settings."""
    ran = CliRunner().invoke(commands, [*words, "--help"], prog_name="ballotpress", env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    assert f"ballotpress {' '.join(words)}" in ran.output
    assert "--help" in ran.output
    lines = [line.strip() for line in ran.output.splitlines()]
    assert all(f"ballotpress {example}" in lines for example in EXAMPLES.get(" ".join(words), ()))
    assert not re.search(r"projections?\b", ran.output, re.IGNORECASE), "operators say view (docs/glossary.md)"


def test_every_example_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command but a group has one or more examples, and each is taken as it stands, by the command that it is of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bounce.eml").touch()
    monkeypatch.delenv("BALLOTPRESS_HOME", raising=False)
    leaves = {" ".join(words) for words, command in ALL.items() if not isinstance(command, click.Group)}
    assert leaves == EXAMPLES.keys()
    found = {example: of for of, examples in EXAMPLES.items() for example in examples}
    assert {example: taken_by(shlex.split(example)) for example in found} == found


def taken_by(words: list[str]) -> str:
    """Let the command line take some words, without running anything; return the name of the command that they are for."""
    context: click.Context = click.RichContext(commands)
    path: list[str] = []
    while isinstance(context.command, click.Group):
        name, command, words = context.command.resolve_command(context, words)
        assert name is not None and command is not None
        path.append(name)
        if isinstance(command, click.Group):
            context = click.RichContext(command, parent=context)
        else:
            context = command.make_context(name, words, parent=context)
    context.close()
    return " ".join(path)


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
    listed = re.findall(r"[A-Z_]+_URL|BALLOTPRESS_\w+", ran.out)
    assert {"DATABASE_URL", "SMTP_URL", "BALLOTPRESS_HOME", "BALLOTPRESS_DKIM_KEY_FILE"} <= set(listed)
    assert "BALLOTPRESS_HOME\n    folder of all that up keeps  [default: .ballotpress]\n" in ran.out


async def test_migrate_says_what_it_did(shell: Shell, postgres: servers.Postgres) -> None:
    """On an empty database `migrate` tells how many migrations ran; the second time, that there was nothing to do."""
    async with servers.database(postgres) as dsn:
        assert re.match(r"Ran \d+ migrations; the database has the current schema", shell("migrate", DATABASE_URL=dsn).out)
        assert shell("migrate", DATABASE_URL=dsn).out == "Nothing to do: the database has the current schema\n"
