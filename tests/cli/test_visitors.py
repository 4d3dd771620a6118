"""`ballotpress visitors erase`: what a visitor wrote goes, what it counted for stays."""

import os
import pty
from typing import Any

import pytest

from events.commands.bookmarks import SetBookmark
from events.log import ids
from events.log.committer import Committer
from tests.support.shell import Shell, Vote

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def reader(vote: Vote, committer: Committer) -> str:
    """A visitor who voted and keeps a bookmark."""
    (visitor,) = await vote("alpha", ["ship"])
    await committer.submit(SetBookmark(visitor, "beta", keep=True))
    return visitor


async def types(connection: Any) -> list[str]:
    return [row["type"] for row in await connection.fetch("select type from log.events order by position desc limit 2")]


async def test_erasure_removes_what_was_kept_and_no_vote(shell: Shell, reader: str, connection: Any) -> None:
    """The bookmark goes, the vote stays; erased again, or unknown, there is nothing to do."""
    assert shell("visitors", "erase", reader, "--yes", "--json").json() == {"reviews": 0, "bookmarks": 1, "appended": 2}
    assert await types(connection) == ["PersonErased", "BookmarkRemoved"]
    assert shell("visitors", "erase", reader, "--yes", "--json").json()["appended"] == 0
    unknown = ids.new_id(1_800_000_000_000, os.urandom(10))
    assert shell("visitors", "erase", unknown, "--yes").out.startswith("Nothing to erase")
    shell("visitors", "erase", "nobody").failed("nobody", status=2)


@pytest.mark.parametrize(
    "words",
    [("visitors", "erase", ids.new_id(1, bytes(10))), ("subscribers", "erase", "a@example.com"), ("digest", "cancel", "1")],
)
async def test_where_nobody_can_be_asked_a_yes_must_be_given(shell: Shell, connection: Any, words: tuple[str, ...]) -> None:
    """In a pipe or a timer's job what can't be undone is refused without --yes, and changes nothing."""
    before = await types(connection)
    shell(*words).failed("--yes", status=2)
    assert await types(connection) == before


@pytest.mark.parametrize(("answer", "status", "last"), [("y", 0, "PersonErased"), ("n", 130, "ToolBookmarked")])
async def test_a_terminal_is_asked(shell: Shell, reader: str, connection: Any, answer: str, status: int, last: str) -> None:
    """On a terminal a visitor is erased only after a yes."""
    ours, theirs = pty.openpty()
    with shell.started("visitors", "erase", reader, stdin=theirs) as process:
        os.write(ours, f"{answer}\n".encode())
        _, error = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == status
    assert b"can't be undone" in error
    assert (await types(connection))[0] == last
