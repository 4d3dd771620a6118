"""Every digest carries a checkpoint of the public log, the same for all its readers, by which anybody checks it years later."""

import asyncio
import logging
from pathlib import Path

import pytest

from services.newsletter import mailed
from services.proof import export, published, store, verify
from tests.support import catalogs, signing
from tests.support.mails import notes_of
from tests.support.newsroom import Newsroom
from tests.support.sites import client

GOLDEN = Path(__file__).parents[1] / "golden" / "mail"


async def begin(room: Newsroom, *readers: str) -> None:
    """Begin a site with two tools, votes on one, and readers: the first of everything, the others of a category each."""
    await room.import_tools(
        catalogs.tool("alpha", panel=[catalogs.opinion()], category="Chat"), catalogs.tool("beta", category="Code")
    )
    for reader in readers:
        await room.subscribe(reader, *(["Chat"] if reader.startswith("chat") else []))
    await room.vote("alpha", 5, 6)
    await room.project()


def digests(room: Newsroom, *readers: str) -> list[bytes]:
    """Return the one digest of each reader."""
    found = [[raw for raw in room.sink.to(reader) if b"List-Id" in raw] for reader in readers]
    assert all(len(each) == 1 for each in found)
    return [raw for (raw,) in found]


async def test_all_who_read_an_issue_hold_the_same_note(room: Newsroom, tmp_path: Path) -> None:
    """Header and text of every mail, the API, the page and the feed have the published note's bytes, though the log goes on."""
    readers = "all@example.com", "chat@example.com"
    await begin(room, *readers)
    await room.sign(tmp_path)
    number = await room.send_now()
    assert await mailed.missing(room.database) == 0
    (chosen,) = await signing.signed(room.database)  # type: ignore[arg-type]
    await room.vote("alpha", 1, 0)
    await room.project()
    await room.sign(tmp_path)
    await room.deliver()
    for raw in digests(room, *readers):
        assert notes_of(raw) == (chosen.note, chosen.note)
        assert f"counts the first {chosen.size:,} entries of the public log".encode() in raw.replace(b"=\r\n", b"")
    async with client(room.settings) as http:
        told = (await http.get(f"/v1/issues/{number}")).json()
        assert (told["from_position"], told["to_position"], told["checkpoint"]) == (0, chosen.size, chosen.note)
        assert f"<pre>{chosen.note}</pre>" in (await http.get(f"/issues/{number}")).text
        assert chosen.note.splitlines()[-1] in (await http.get("/feed.xml")).text
    assert await room.database.fetch("select size, why from proof.kept") == [(chosen.size, f"issue {number}")]
    await room.database.execute("alter table proof.checkpoints disable trigger user")
    await room.database.execute("update proof.checkpoints set signed_at = signed_at - interval '3 days'")
    await room.database.execute("alter table proof.checkpoints enable trigger user")
    await store.prune(room.database)
    assert chosen in await signing.signed(room.database)  # type: ignore[arg-type]


async def test_an_issue_waits_a_moment_for_its_checkpoint(room: Newsroom, tmp_path: Path) -> None:
    """What was signed before doesn't cover it; what is signed meanwhile does."""
    await room.import_tools(catalogs.tool("beta"))
    await room.project()
    await room.sign(tmp_path)
    await begin(room, "all@example.com")
    issue = asyncio.create_task(room.send_now())
    await asyncio.sleep(0.5)
    assert not issue.done()
    await room.sign(tmp_path)
    number = await issue
    newest = await published.newest(room.database)
    assert newest is not None
    row = await room.database.fetchrow("select to_position, checkpoint from newsletter.issues where number = $1", number)
    assert row is not None and row["checkpoint"] == newest.note and row["to_position"] <= newest.size


async def test_an_issue_that_nothing_covers_goes_without(
    room: Newsroom, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent after a bounded wait, an operator reads why, and nothing in the mail speaks of a log."""
    monkeypatch.setattr(mailed, "PATIENCE_SECONDS", 0.5)
    await room.import_tools(catalogs.tool("beta"))
    await room.project()
    await room.sign(tmp_path)
    await begin(room, "all@example.com")
    with caplog.at_level(logging.ERROR):
        number = await room.send_now()
    assert f"issue {number} goes without a checkpoint" in caplog.text
    assert await mailed.missing(room.database) == 1
    await room.deliver()
    (raw,) = digests(room, "all@example.com")
    assert b"Checkpoint" not in raw and b"public log" not in raw
    async with client(room.settings) as http:
        assert (await http.get(f"/v1/issues/{number}")).json()["checkpoint"] is None
        assert 'ballotpress_issues_unproven{of="week"} 1.0' in (await http.get("/metrics")).text
        assert (await http.get(f"/issues/{number}")).status_code == 200


async def test_the_program_accepts_our_mail(
    room: Newsroom, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are the log's as of the issue, though votes came after; one changed number is found."""
    monkeypatch.chdir(tmp_path)  # the program leaves its evidence here
    await begin(room, "all@example.com")
    await room.sign(tmp_path)
    await room.send_now()
    await room.deliver()
    await room.vote("alpha", 0, 3)
    await room.project()
    await room.sign(tmp_path)
    async with room.database.acquire() as connection:
        with (tmp_path / "log.jsonl").open("wb") as out:
            manifest = await export.export(connection, out, lambda done, total: None)  # type: ignore[arg-type]
    (raw,) = digests(room, "all@example.com")
    (tmp_path / "issue.eml").write_bytes(raw)
    must_verify(tmp_path, manifest.vkeys[0])
    (tmp_path / "issue.eml").write_bytes(raw.replace(b"45% of 11 votes", b"54% of 11 votes"))
    assert verify.main(words(tmp_path, manifest.vkeys[0])) == 2
    assert "The mail says of alpha" in capsys.readouterr().err


def test_a_mail_of_long_ago_still_verifies() -> None:
    """The first digest that carried a checkpoint, against the log of that time."""
    must_verify(GOLDEN, (GOLDEN / "issue.vkey").read_text().strip())


def words(folder: Path, vkey: str) -> list[str]:
    """Return the words that check a mail against an export."""
    return [str(folder / "log.jsonl"), "--key", vkey, "--from", "0", "--mail", str(folder / "issue.eml")]


def must_verify(folder: Path, vkey: str) -> None:
    """Assert that a mail verifies, and that it says something that could be wrong."""
    assert verify.main(words(folder, vkey)) == 0
    assert notes_of((folder / "issue.eml").read_bytes())[0] == notes_of((folder / "issue.eml").read_bytes())[1]
