"""What is lost of the archive is made anew from what the database keeps; what can't be ended now is ended later."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.log.archive import packing, reading, state
from events.log.archive.places import FileMissing, place_of
from events.log.archive.present import forget, load, unarchive
from events.log.archive.state import ArchiveRefused, FileBroken
from services.clock import now
from tests.support.archiving import ALL, SIZE, archive, of_voters
from tests.support.shell import Shell
from tests.support.store import BUCKET, Store

LEFT = "select relname from pg_class where relname ~ '^events_[0-9]+_(kept|gone|whole)$' and relkind = 'r'"
TABLE = "select pg_relation_filenode('log.events_0_kept')"


@pytest.mark.parametrize("spoil", ["missing", "short", "changed", "another"])
async def test_a_lost_file_is_written_again(connection: Any, tmp_path: Path, spoil: str) -> None:
    """A file that is gone or broken is named with the command that mends it; then it holds each event to the byte."""
    rows = await connection.fetch(ALL)
    kept = await archive(connection, tmp_path)
    file = tmp_path / kept.name
    whole = file.read_bytes()
    broken = {"short": whole[:-9], "changed": whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:], "another": b"PAR1"}
    file.unlink() if spoil == "missing" else file.write_bytes(broken[spoil])
    with pytest.raises((FileMissing, FileBroken), match=f"`ballotpress events archive 0 --to {tmp_path}` write it again"):
        reading.check_all(kept)
    again = await archive(connection, tmp_path)
    assert (again.name, again.chain, again.state) == (kept.name, kept.chain, "packed")
    reading.check_all(again)
    assert await connection.fetch(LEFT) == []
    await unarchive(connection, 0)
    assert await connection.fetch(ALL) == rows


async def test_a_broken_file_of_a_part_that_is_here_is_written_again(connection: Any, tmp_path: Path) -> None:
    """Where a part was brought back and its file is broken, archiving it anew doesn't stop at the file."""
    kept = await archive(connection, tmp_path)
    await unarchive(connection, 0)
    (tmp_path / kept.name).write_bytes(b"PAR1")
    assert (await archive(connection, tmp_path)).state == "packed"
    reading.check_all(kept)


async def test_a_file_moves_elsewhere(connection: Any, tmp_path: Path, s3: Store) -> None:
    """Of an archived part the file is written to another place, a bucket too, which is where it is read from then."""
    await archive(connection, tmp_path / "old")
    moved = await archive(connection, f"s3://{BUCKET}/moved")
    assert moved.place == f"s3://{BUCKET}/moved"
    (tmp_path / "old" / moved.name).unlink()
    with pytest.raises(ArchiveRefused, match="in the archive already"):
        await archive(connection, f"s3://{BUCKET}/moved")
    await unarchive(connection, 0)


async def test_what_was_changed_here_makes_no_file(connection: Any, tmp_path: Path) -> None:
    """Packed ballots that somebody changed aren't taken for those that were archived."""
    kept = await archive(connection, tmp_path)
    (tmp_path / kept.name).unlink()
    await connection.execute(
        "update log.archived_ballots set ballots = set_byte(ballots, 18, (get_byte(ballots, 18) + 3) % 9)"
        " where ctid = (select min(ctid) from log.archived_ballots)"
    )
    with pytest.raises(FileBroken, match="isn't what was archived: it was changed"):
        await archive(connection, tmp_path)
    assert await connection.fetch(LEFT) == [] and place_of(str(tmp_path)).size(kept.name) is None


async def test_beside_a_long_reader_what_is_packed_is_kept(
    dsn: str, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the log is named; what was written and packed stays, nothing else changes, and the next run swaps it."""
    monkeypatch.setattr(state, "SWAP_SECONDS", 2.5)
    rows, said = await connection.fetch(ALL), []
    reader = await asyncpg.connect(dsn, server_settings={"application_name": "pg_dump"})
    await reader.execute("begin; select count(*) from log.events")
    with pytest.raises(ArchiveRefused, match=r"\(pg_dump\) has had a transaction .* run this again, which takes moments"):
        await archive(connection, tmp_path)
    packed = await connection.fetchval(TABLE)
    assert packed is not None and await connection.fetch(ALL) == rows
    assert [one.state for one in await state.read_all(connection)] == ["written"]
    await reader.execute("commit")
    await packing.archive(connection, 0, packing.Filing(place_of(str(tmp_path)), now, said.append), young=True)
    assert "writing" not in said and await connection.fetch(LEFT) == []
    assert await connection.fetchval("select pg_relation_filenode('log.events_0')") == packed
    await reader.close()


@pytest.mark.parametrize("was_back", [True, False])
async def test_a_file_may_be_forgotten(connection: Any, tmp_path: Path, shell: Shell, was_back: bool) -> None:
    """A file that was deleted on purpose is wrong until the log is told to forget it; then none is asked for."""
    rows = await connection.fetch(ALL)
    shell("events", "unarchive", "0", "--forget").failed("no file is known")
    kept = await archive(connection, tmp_path)
    if was_back:
        await unarchive(connection, 0)
        (tmp_path / kept.name).unlink()
        assert (
            "`ballotpress events unarchive 0 --forget` if it was deleted" in shell("events", "parts", "--check", status=1).out
        )
    assert "no part of the log any more" in shell("events", "unarchive", "0", "--forget", status=0).out
    assert "Read 0 files of" in shell("events", "parts", "--check", status=0).out
    assert await connection.fetch(ALL) == rows and await connection.fetch(LEFT) == []
    (tmp_path / kept.name).unlink(missing_ok=True)
    assert (await archive(connection, tmp_path)).state == "packed"


async def test_what_is_archived_meanwhile_is_not_forgotten(dsn: str, connection: Any, tmp_path: Path) -> None:
    """Nobody is told that a file may be deleted which a run beside has just put in the part's place."""
    await archive(connection, tmp_path)
    await unarchive(connection, 0)
    other = await asyncpg.connect(dsn)
    async with state.changing(connection, 0):
        forgetting = asyncio.create_task(forget(other, 0))
        while not await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted"):
            await asyncio.sleep(0.01)
        await archive(connection, tmp_path)
    with pytest.raises(ArchiveRefused, match="meanwhile: see `ballotpress events parts`, and try again"):
        await forgetting
    assert [one.state for one in await state.read_all(connection)] == ["packed"]
    await other.close()


async def test_what_killed_runs_left_in_folders_is_removed(
    connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run removes what is a day old, where files are made and where they are kept; all else stays."""
    spool = tmp_path / "spool"
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    old = [spool / "ballotpress-archive-old" / "part", tmp_path / ".events-000000000001-x.parquet.abc.part"]
    kept = [spool / "ballotpress-archive-young" / "part", spool / "others" / "part", tmp_path / ".events-2.parquet.def.part"]
    for path in (*old, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in (*old, old[0].parent, kept[1], kept[1].parent):
        os.utime(path, (time.time() - 90_000,) * 2)
    await archive(connection, tmp_path)
    assert [path.exists() for path in (*old, old[0].parent, *kept)] == [False] * 3 + [True] * 3


async def test_what_is_packed_beside_is_dropped_by_unarchive(
    dsn: str, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever thinks better of it leaves nothing behind."""
    monkeypatch.setattr(state, "SWAP_SECONDS", 0.1)
    reader = await asyncpg.connect(dsn)
    await reader.execute("begin; select count(*) from log.events")
    with pytest.raises(ArchiveRefused):
        await archive(connection, tmp_path)
    await reader.close()
    with pytest.raises(ArchiveRefused, match="all of it is in the database"):
        await unarchive(connection, 0)
    assert await connection.fetch(LEFT) == []
    assert await connection.fetchval("select count(*) from log.archived_ballots") == 0


@pytest.mark.parametrize("ended", ["archiving", "loading"])
async def test_what_a_killed_run_made_whole_is_dropped_by_the_next(
    dsn: str, connection: Any, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    """A part that was taken out, or was about to come back, doesn't stay on the disk when its run was killed."""
    killed, swap = await asyncpg.connect(dsn), state.swap

    async def die(*given: Any, **more: Any) -> None:
        if ended == "archiving":
            await swap(*given, **more)
        killed.terminate()
        raise ConnectionResetError

    if ended == "loading":
        await archive(connection, tmp_path)
    monkeypatch.setattr(state, "swap", die)
    with pytest.raises(ConnectionResetError):
        await (archive(killed, tmp_path) if ended == "archiving" else load(killed, 0))
    monkeypatch.undo()
    assert len(await connection.fetch(LEFT)) == 1
    shell("events", "archive", "0", "--to", str(tmp_path), "--young").failed("in the archive already")
    assert await connection.fetch(LEFT) == []


async def test_nobody_waits_behind_a_swap_that_cant_be(dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody holds the log for long, no lock is asked for that others would queue up behind."""
    reader = await asyncpg.connect(dsn)
    await reader.execute("begin; select count(*) from log.events; select pg_sleep(2.1)")
    monkeypatch.setattr(state, "_SWAP", "select 1 / 0 where $1::integer is distinct from $2::text || $3::text || $4::text")
    with pytest.raises(ArchiveRefused, match="has had a transaction on the log open for"):
        await state.swap(connection, 0, "a", "b", "packed", "Later", 0.3)
    await reader.close()


async def test_odd_text_comes_back(connection: Any, tmp_path: Path) -> None:
    """Whatever JSON and folder's name can hold goes into a file and comes back: quotes, nulls, commas, lines, megabytes."""
    texts = ['"', "\\", "a,b", "null", "NaN", "", " ", "a\nb\r\n", "\t", "né ☃ 𝄞", "'", "x" * 3_000_000, "\\N", "\\."]
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute("alter table log.events_0 disable trigger events_append_only")
    for position, text in enumerate(texts, start=20):
        await connection.execute(
            "update log.events_0 set data = data || jsonb_build_object('note', $2::text),"
            " meta = jsonb_build_object('m', $2::text) where position = $1",
            position, text,
        )  # fmt: skip
    await connection.execute("update log.events_0 set recorded_at = '2026-03-01 00:00:00+00' where position = 1")
    rows, folder = await connection.fetch(ALL), tmp_path / "a 'b\" né %s $(x)\n;"
    kept = await archive(connection, folder)
    assert kept.path.startswith(str(folder))
    (folder / kept.name).unlink()
    await archive(connection, folder)
    await unarchive(connection, 0)
    assert await connection.fetch(ALL) == rows


async def test_the_baseline_of_evidence_counts_archived_votes(connection: Any, tmp_path: Path) -> None:
    """How old voters usually are is told of the same votes, be they in the archive or not."""
    from services.integrity import evidence

    later = now() + timedelta(minutes=20)
    before = await evidence._site_ages(connection, later)
    assert len(before) > SIZE
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    assert sorted(await evidence._site_ages(connection, later)) == pytest.approx(sorted(before))
    assert len(await of_voters(connection)) > SIZE
