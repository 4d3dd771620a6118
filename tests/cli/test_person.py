"""`ballotpress person`: what is kept, a copy of one's data, and its erasure."""

import json
from pathlib import Path
from typing import Any

import pytest

from events.commands.bookmarks import SetBookmark
from events.log.committer import Committer
from services.clock import fresh_id
from tests.support.shell import Follow, Shell, Vote

pytestmark = pytest.mark.usefixtures("catalog")
ASKED = "select data::text as data, meta::text as meta from log.events where type = 'DataRequested' order by position"


@pytest.fixture
async def reader(vote: Vote, committer: Committer, follow: Follow) -> str:
    """A visitor who voted and keeps a bookmark."""
    (visitor,) = await vote("alpha", ["ship"])
    await committer.submit(SetBookmark(visitor, "beta", keep=True))
    await follow()
    return visitor


@pytest.fixture
async def subscriber(shell: Shell, tmp_path: Path, follow: Follow, connection: Any) -> str:
    """The number of a subscriber who was imported."""
    file = tmp_path / "readers.csv"
    file.write_text("email,proof\nada@example.com,a paper form\n")
    shell("subscribers", "import", str(file), status=0)
    await follow()
    number: str = await connection.fetchval("select person from vault.lookups")
    return number


async def test_a_copy_is_printed_by_address_or_number(shell: Shell, reader: str, subscriber: str) -> None:
    """A visitor's copy has its votes and bookmarks, a subscriber's its consent with the proof, opened."""
    visitor = shell("person", "export", reader).json()
    assert (visitor["visitor"], visitor["votes"][0]["choice"], visitor["bookmarks"][0]["tool"]) == (reader, "ship", "beta")
    for who in ("ada@example.com", subscriber):
        copied = shell("person", "export", who).json()
        assert (copied["email"], copied["events"][0]["proof"]) == ("ada@example.com", "a paper form")
    assert shell("subscribers", "export", "ada@example.com").json()["email"] == "ada@example.com"


async def test_an_erasure_says_what_went_and_what_remains(shell: Shell, reader: str, subscriber: str) -> None:
    """By number and by address; a second time there is nobody, or nothing left to erase."""
    done = shell("person", "erase", reader, "--yes")
    assert done.out.startswith("Erased, with 0 reviews, 0 reports, 1 bookmark. What remains:\n  Votes: "), done.out
    assert "Address" not in done.out
    assert shell("person", "erase", reader, "--yes", "--json").json() == {"erased": False}
    told = shell("person", "erase", "ada@example.com", "--yes", "--json").json()
    assert told["erased"] and any(line.startswith("Address: ") for line in told["remains"])
    assert shell("person", "erase", "ada@example.com", "--yes", "--json").json() == {"erased": False}
    assert shell("person", "export", "ada@example.com").json() == {"email": "ada@example.com", "status": None}
    assert shell("person", "export", subscriber).json()["email"] is None


async def test_that_it_was_asked_is_recorded(shell: Shell, reader: str, subscriber: str, connection: Any) -> None:
    """The log says which operator made a copy or an erasure of what kind of person, and no number or address."""
    shell("person", "export", reader, status=0)
    shell("person", "export", "nobody@example.com", status=0)
    shell("person", "erase", "ada@example.com", "--yes", status=0)
    rows = await connection.fetch(ASKED)
    said = [(json.loads(row["data"])["kind"], json.loads(row["data"])["of"], json.loads(row["meta"])) for row in rows]
    assert said == [("copy", "visitor", {"operator": "shell"}), ("erasure", "subscriber", {"operator": "shell"})]
    assert not any(number in row["data"] for row in rows for number in (reader, subscriber, "ada"))


async def test_who_is_named_wrongly_is_told_so(shell: Shell) -> None:
    """What is neither an address nor a number is refused in a line; an unknown number has an empty copy."""
    shell("person", "export", "nobody").failed("can't be used")
    shell("person", "erase", "nobody", "--yes").failed("can't be used")
    shell("person", "erase", "a@example.com").failed("--yes", status=2)
    assert shell("person", "export", fresh_id()).json()["votes"] == []


async def test_what_is_kept_is_printed_without_a_site(shell: Shell) -> None:
    """The record of processing is the table in words."""
    said = shell("person", "kept", DATABASE_URL="")
    assert said.status == 0 and "## When you vote" in said.out and "`log.idempotency" in said.out
