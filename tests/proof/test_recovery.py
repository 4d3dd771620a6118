"""The ways out when nothing may be signed: resume and restart, each walked with the commands; and a new key."""

import asyncio
import base64
import json
from pathlib import Path

import asyncpg
import pytest

from events.log.committer import Committer
from events.proof import LogKeyAdded, LogRestarted
from projections import merkle, proof
from projections.engine.projection import create_missing
from services.proof import published
from services.proof.checkpoint import read_checkpoint
from services.proof.memory import Memory
from services.proof.note import Signer, read_vkey
from services.proof.signer import Keys
from tests.support.deeds import deeds_of
from tests.support.log import go_back
from tests.support.runners import catch_up
from tests.support.settings import LOG_KEY
from tests.support.shell import Shell
from tests.support.signing import ORIGIN, SEED, SITE, VIEW, grow, must_be_consistent, root_of, sign, signed, signer

pytestmark = pytest.mark.postgres


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database, with the log's key and the signer's file."""
    made = Shell(tmp_path / "home", dsn, valkey_url)
    made.environ |= {
        "BALLOTPRESS_LOG_KEY": LOG_KEY,
        "BALLOTPRESS_BASE_URL": SITE,
        "BALLOTPRESS_CHECKPOINT_FILE": str(tmp_path / "checkpoint"),
    }
    return made


async def view_anew(connection: "asyncpg.Connection[object]", dsn: str) -> None:
    """Make the tree anew from the log as it is."""
    await connection.execute(f"drop schema {VIEW.schema} cascade")
    await create_missing(connection, [VIEW])
    await catch_up(dsn, VIEW)


async def lose_notes(connection: "asyncpg.Connection[object]") -> None:
    """Forget what was signed, as an import into a new database does."""
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        for table in ("checkpoints", "log"):
            await connection.execute(f"delete from proof.{table}")  # noqa: S608


async def test_an_imported_log_goes_on_from_the_note(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """The signer refuses until `proof resume NOTE`; then the next note extends the old one, under the old origin."""
    await grow(committer, dsn, 5)
    signing = signer(dsn, tmp_path)
    assert await sign(signing, dsn)
    old = (await signed(connection))[0]
    await lose_notes(connection)
    await grow(committer, dsn, 2)
    assert not await sign(signer(dsn, tmp_path), dsn)
    status = shell("proof", "status")
    assert status.status == 1 and f"proof resume {tmp_path}" in status.out
    assert shell("proof", "resume", str(tmp_path / "checkpoint"), "--json").json()["size"] == 5
    assert await deeds_of(connection, "shell") == ["resumed-signing"]
    assert await sign(signer(dsn, tmp_path), dsn)
    found = await signed(connection)
    assert found[0] == old and [one.size for one in found] == [5, 7]
    await must_be_consistent(connection, found)
    assert shell("proof", "status").status == 0


async def test_a_note_that_contradicts_the_log_is_not_gone_on_from(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """Longer than the log, of another history, of another key, or no note at all: each is one line that says so."""
    await grow(committer, dsn, 5)
    assert await sign(signer(dsn, tmp_path), dsn)
    note = tmp_path / "note"
    note.write_text(Memory(tmp_path / "checkpoint").read().note)  # type: ignore[union-attr]
    await go_back(connection, 4)
    await view_anew(connection, dsn)
    shell("proof", "resume", str(note)).failed("5 positions were signed, and the log ends at 4")
    await grow(committer, dsn, 3)
    shell("proof", "resume", str(note)).failed("isn't the one that was signed", "from 1 to 5")
    note.write_text(note.read_text().replace("\n5\n", "\n6\n"))
    shell("proof", "resume", str(note)).failed("signature", "is wrong")
    note.write_text("nothing")
    shell("proof", "resume", str(note)).failed("no signature lines")
    shell("proof", "resume", str(tmp_path / "none")).failed("can't be read")


async def test_a_lost_end_is_declared_and_a_new_log_begins(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """`proof restart` says publicly what was signed and what of it is left; the old log's last note stays."""
    signing = signer(dsn, tmp_path)
    for events in (5, 3):
        await grow(committer, dsn, events)
        assert await sign(signing, dsn)
    lost = (await signed(connection))[-1]
    shell("proof", "restart", "--reason", "none", "--yes").failed("nothing to restart")
    await go_back(connection, 6)
    await view_anew(connection, dsn)
    assert not await sign(signer(dsn, tmp_path), dsn)
    shell("proof", "restart", "--reason", "the disk burned").failed("add --yes", status=2)

    following = asyncio.create_task(_follow(dsn))
    try:
        ran = (await asyncio.to_thread(shell, "proof", "restart", "--reason", "the disk burned", "--yes", "--json")).json()
    finally:
        following.cancel()
    assert ran == {"origin": "site.test/log/2", "position": 7, "common": 5}
    assert await deeds_of(connection, "shell") == ["LogRestarted"]
    entry = json.loads((await proof.entries(connection, 6, 7))[0])
    assert (entry["type"], entry["data"]) == (
        LogRestarted.__name__,
        {"former": ORIGIN, "size": 8, "root": base64.b64encode(lost.root).decode(), "common": 5, "reason": "the disk burned"},
    )
    assert await sign(signer(dsn, tmp_path), dsn)
    old, new = await published.read(connection)
    assert (old.checkpoint.size, old.common, old.checkpoint.root) == (8, 5, lost.root)
    assert (new.checkpoint.origin, new.checkpoint.size) == ("site.test/log/2", 7)
    await must_be_consistent(connection, [new.checkpoint])
    await grow(committer, dsn, 2)
    assert await sign(signer(dsn, tmp_path), dsn)
    assert shell("proof", "status").status == 0


async def test_a_database_older_than_a_restart_can_not_restart_again(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """Its next log would have the number, the origin and the key of one that was signed, and contradict it."""
    await grow(committer, dsn, 5)
    assert await sign(signer(dsn, tmp_path), dsn)
    (old,) = await signed(connection)
    text = f"site.test/log/2\n{old.size}\n{base64.b64encode(bytes(32)).decode()}\n"
    line = Signer("site.test/log/2", SEED).sign(text)
    (tmp_path / "checkpoint").write_text(f"{text}\n{line}\n")
    assert not await sign(signer(dsn, tmp_path), dsn)
    shell("proof", "restart", "--reason", "again", "--yes").failed("site.test/log/2 was signed", "knows of nothing after")
    assert [one.log for one in await published.read(connection)] == [1]


async def _follow(dsn: str) -> None:
    while True:
        await catch_up(dsn, VIEW)
        await asyncio.sleep(0.1)


async def test_a_new_key_is_announced_and_both_sign_for_a_while(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """The old key signs the event that announces the new one; then both sign; then the new one alone may."""
    await grow(committer, dsn, 2)
    assert await sign(signer(dsn, tmp_path), dsn)
    (old,) = shell("proof", "key", "--json").json()["vkeys"]
    made = shell("proof", "key", "--new", "--json").json()
    assert await deeds_of(connection, "shell") == ["LogKeyAdded"]
    seeds = [base64.b64decode(one) for one in made["BALLOTPRESS_LOG_KEY"].split(",")]
    assert seeds[1] == SEED and Keys(seeds).vkeys(ORIGIN) == [made["vkey"], old]
    assert await sign(signer(dsn, tmp_path, seeds[0]), dsn)
    assert len(await signed(connection)) == 1, "the new key signs nothing before what announces it is in the tree"
    await catch_up(dsn, VIEW)
    assert await sign(signer(dsn, tmp_path), dsn)
    last_words = (await signed(connection))[-1]
    assert json.loads((await proof.entries(connection, 2, 3))[0])["type"] == LogKeyAdded.__name__
    assert last_words.size == made["position"] == 3 and last_words.note.count("— ") == 1
    await grow(committer, dsn, 1)
    assert await sign(signer(dsn, tmp_path, *seeds), dsn)
    both = (await signed(connection))[-1]
    assert all(read_checkpoint(both.note.encode(), [read_vkey(key)]) for key in (old, made["vkey"]))
    assert (await published.read(connection))[-1].vkey == made["vkey"]
    await grow(committer, dsn, 1)
    assert await sign(signer(dsn, tmp_path, seeds[0]), dsn)
    alone = (await signed(connection))[-1]
    assert read_checkpoint(alone.note.encode(), [read_vkey(made["vkey"])]) and alone.note.count("— ") == 1


async def test_an_export_holds_the_public_entries_and_the_note(
    connection: "asyncpg.Connection[object]", committer: Committer, dsn: str, tmp_path: Path, shell: Shell
) -> None:
    """A line an entry, then the manifest, whose root is that of the lines; a part has the last note within it."""
    signing, file = signer(dsn, tmp_path), tmp_path / "public.jsonl"
    shell("proof", "export", str(file)).failed("No checkpoint")
    for events in (3, 300):
        await grow(committer, dsn, events)
        assert await sign(signing, dsn)
    assert shell("proof", "export", str(file)).status == 0
    *lines, last = file.read_bytes().splitlines()
    manifest = json.loads(last)["manifest"]
    assert lines == await proof.entries(connection, 0, 303)
    assert base64.b64decode(manifest["root"]) == root_of([merkle.leaf_hash(line) for line in lines])
    assert (manifest["origin"], manifest["size"]) == (ORIGIN, 303)
    assert manifest["note"] == (await signed(connection))[-1].note
    assert shell("proof", "export", str(file), "--to", "100").status == 0
    part = json.loads(file.read_bytes().splitlines()[-1])["manifest"]
    assert part["size"] == 100 and part["note"] == (await signed(connection))[0].note
    shell("proof", "export", str(file), "--to", "304").failed("covers 303")
