"""Backups of the private database: whole or not there, restored to any moment, opened by age, and tried by a drill."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import msgspec
import pytest

from events.commands.ballots import CastVote
from events.commands.catalog import ImportCatalog
from services.backup import drill, writing
from services.backup.places import BASE, MANIFEST, BackupUnusable, backups_in, check
from services.backup.restoring import RESTORED, Target, bring_home, chosen, clear, is_replayed, must_be_free
from services.backup.sealing import IDENTITY, encrypt_from_now, identity_of, opened, recipient_of
from services.backup.writing import Wanted, write_backup
from services.clock import fresh_id
from services.embedded.home import keep_keys, opened_home
from services.embedded.postgres import start_postgres
from services.status.backups import SLOT, read_backups
from tests.support import catalogs
from tests.support.disks import mounted
from tests.support.log import patient
from tests.support.private_site import Site
from tests.support.processes import PATIENCE, processes_naming
from tests.support.runners import catch_up_all
from tests.support.settings import clean_environ, environ
from tests.support.standbys import both_ways

PASSPHRASE = "correct horse battery"


def silent(line: str) -> None:
    """Say nothing."""


def names(backups: Path) -> set[str]:
    """Return what stands in a folder of backups, without the archives."""
    return {path.name for path in backups.iterdir() if not path.name.startswith("wal-")}


async def vote(live: Site, *, times: int = 1) -> list[int]:
    """Let new visitors vote; give the position after each vote."""
    positions = []
    async with patient(live.settings.database_url) as committer:
        for _ in range(times):
            receipt = await committer.submit(CastVote(fresh_id(), "alpha", "ship"))
            assert receipt.position is not None
            positions.append(receipt.position)
    await live.archived()
    return positions


async def listed(live: Site) -> None:
    """List a tool."""
    async with patient(live.settings.database_url) as committer:
        await committer.submit(ImportCatalog.of(catalogs.file(catalogs.tool("alpha")), fresh_id, "op"))


async def restored_head(live: Site, home: Path, target: Target, identity: object = None) -> int:
    """Restore to a moment; give the last position of the log there."""
    async with (
        opened_home(home, silent) as supervisor,
        drill.recovered_to(supervisor, live.backups, target, identity) as (backup, url),
    ):
        head = await drill.head_of(url)
    bring_home(home, backup, identity, None)
    return head.position


async def test_any_position_since_a_backup_is_restored(live: Site, folder: Path) -> None:
    """From one backup and the archive: to a position, to a time, to the last commit; what is beyond is said."""
    await listed(live)
    made = await write_backup(live.settings, Wanted(live.backups))
    first, second = await vote(live, times=2)
    at = await live.database.fetchval("select now()")
    (last,) = await vote(live)
    assert made.manifest.position == made.manifest.end_position
    assert await restored_head(live, folder / "0", Target(position=made.manifest.position)) == made.manifest.position
    assert await restored_head(live, folder / "1", Target(position=first)) == first
    assert await restored_head(live, folder / "2", Target(time=at)) == second
    assert await restored_head(live, folder / "3", Target()) == last
    with pytest.raises(BackupUnusable, match=f"ends before position {last + 5}"):
        await restored_head(live, folder / "4", Target(position=last + 5))
    with pytest.raises(BackupUnusable, match="there is none to start from"):
        chosen(live.backups, Target(position=made.manifest.end_position - 1))
    assert (folder / "3" / "secrets").read_bytes() == (live.settings.home / "secrets").read_bytes()
    assert not (folder / "4" / "postgres.restoring").exists()
    with pytest.raises(BackupUnusable, match="holds a database"):
        must_be_free(folder / "3")


async def test_a_drill_says_whether_it_comes_back_and_what_would_be_lost(
    live: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the live site, from the archive nothing is lost; without it the positions since are; nothing of it stays."""
    monkeypatch.setenv("BALLOTPRESS_HOME", str(live.settings.home))
    monkeypatch.setenv("DATABASE_URL", live.settings.database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    await listed(live)
    await catch_up_all(live.settings.database_url)
    await write_backup(live.settings, Wanted(live.backups))
    (last,) = await vote(live)
    whole = await drill.drill(live.backups, Target(), None, silent)
    assert whole.is_right and whole.head.position == last and whole.lost is not None and whole.lost.said == "nothing"
    await vote(live, times=2)
    without = folder / "without"
    shutil.copytree(live.backups, without, ignore=shutil.ignore_patterns("wal-*"))
    part = await drill.drill(without, Target(), None, silent)
    assert part.is_right and part.lost is not None and part.lost.positions == 3
    assert not list(live.settings.home.glob(f"{drill.PREFIX}*"))
    assert await live.database.fetchval("select count(*) from pg_replication_slots where slot_name = $1", SLOT) == 1


async def test_a_drill_notices_a_view_that_isnt_what_the_log_says(live: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that somebody changed is in the backup too, and the drill names the view."""
    monkeypatch.setenv("BALLOTPRESS_HOME", str(live.settings.home))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    await listed(live)
    await vote(live)
    await catch_up_all(live.settings.database_url)
    table = await live.database.fetchval(
        "select schemaname || '.tallies' from pg_tables where schemaname ~ '^cards_[0-9]+$' and tablename = 'tallies'"
    )
    await live.database.execute(f"update {table} set ship = ship + 7")  # noqa: S608 - a table of ours
    await write_backup(live.settings, Wanted(live.backups))
    found = await drill.drill(live.backups, Target(), None, silent)
    assert not found.is_right
    assert [one.view for one in found.views if not one.is_right] == ["cards"]


async def test_an_encrypted_backup_is_opened_by_age_and_by_its_passphrase_alone(live: Site, folder: Path) -> None:
    """The standard program opens it with the identity; writing needs no passphrase; a wrong one is said."""
    await listed(live)
    encrypt_from_now(live.backups, PASSPHRASE)
    made = await write_backup(live.settings, Wanted(live.backups))
    assert made.manifest.encrypted and all(name.endswith(".age") for name in made.manifest.files)
    identity = identity_of(live.backups, PASSPHRASE)
    with pytest.raises(BackupUnusable, match="doesn't open"):
        identity_of(live.backups, "something else entirely")
    with pytest.raises(BackupUnusable, match="give the passphrase"):
        await restored_head(live, folder / "0", Target())
    assert await restored_head(live, folder / "1", Target(), identity) == made.manifest.position
    (folder / "key").write_text(f"{identity}\n")
    age = ("age", "--decrypt", "--identity", folder / "key", "--output", folder / BASE, made.path / f"{BASE}.age")
    await asyncio.to_thread(subprocess.run, age, check=True)
    with tarfile.open(folder / BASE) as tar:
        assert "PG_VERSION" in tar.getnames()
    assert b"age-encryption.org" in (live.backups / IDENTITY).read_bytes()


async def run(live: Site, *words: str) -> tuple[int | None, bytes, bytes]:
    """Run a command on the site's home folder; give its status and what it printed."""
    environment = clean_environ(BALLOTPRESS_HOME=str(live.settings.home))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.cli", *words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out, err


async def test_the_commands_bring_a_site_back_with_its_keys_and_its_mails_held(live: Site, folder: Path) -> None:
    """Encrypted by a passphrase in a file and restored by it into a new home; a home that holds a database is refused."""
    (folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    sealed = ("--passphrase-file", str(folder / "passphrase"))
    status, out, err = await run(live, "backup", str(live.backups), "--encrypt", *sealed, "--json")
    assert status == 0 and msgspec.json.decode(out)["manifest"]["encrypted"], err
    status, out, _ = await run(live, "backup", str(live.backups), "--list")
    assert status == 0 and out.startswith(b"backup-") and b"encrypted" in out and b"erased" not in out
    home = folder / "new"
    status, _, err = await run(live, "restore", str(live.backups), "--home", str(home))
    assert status == 2 and b"--passphrase-file" in err
    status, _, err = await run(live, "restore", str(live.backups), "--home", str(live.settings.home), *sealed)
    assert status == 1 and b"already runs" in err
    status, out, err = await run(live, "restore", str(live.backups), "--home", str(home), *sealed, "--json")
    assert status == 0 and msgspec.json.decode(out)["kept"] == [], err
    assert (home / "secrets").read_bytes() == (live.settings.home / "secrets").read_bytes()
    status, _, err = await run(live, "restore", str(live.backups), "--home", str(home), *sealed)
    assert status == 1 and b"holds a database" in err
    async with opened_home(home, silent) as supervisor:
        connection = await asyncpg.connect(await start_postgres(supervisor, keep_keys(home)["POSTGRES_PASSWORD"]))
        assert await connection.fetchval("select held from newsletter.schedule where paused_at is not null") == RESTORED
        await connection.close()


async def test_a_flipped_bit_is_found_before_anything_is_restored(live: Site, folder: Path) -> None:
    """Every file has a hash in the manifest; a backup without a manifest is none."""
    told: list[tuple[int, int]] = []
    made = await write_backup(live.settings, Wanted(live.backups), lambda done, of: told.append((done, of)))
    assert told and told[-1][0] > 2**20, "nobody was told how far it was"
    check(made)
    raw = bytearray((made.path / BASE).read_bytes())
    raw[len(raw) // 2] ^= 1
    (made.path / BASE).write_bytes(raw)
    assert hashlib.sha256(raw).hexdigest() != made.manifest.files[BASE].sha256
    with pytest.raises(BackupUnusable, match="isn't what was written"):
        await restored_head(live, folder / "1", Target())
    (made.path / MANIFEST).unlink()
    with pytest.raises(BackupUnusable, match="holds no whole backup"):
        chosen(live.backups, Target())


async def test_so_many_backups_stay_and_the_wal_that_they_need(live: Site) -> None:
    """`--keep 1` removes the older backup and the archived WAL before the newer one; the rest can still be restored."""
    first = await write_backup(live.settings, Wanted(live.backups))
    await live.database.execute("select pg_switch_wal()")
    await asyncio.sleep(1.1)  # a backup's name is its second
    second = await write_backup(live.settings, Wanted(live.backups, keep=1))
    assert [one.name for one in backups_in(live.backups)] == [second.name]
    (archive,) = live.backups.glob("wal-*")
    kept = sorted(file.name for file in archive.iterdir())
    assert kept[0][:24] >= second.manifest.start_segment > first.manifest.start_segment


async def test_a_backup_that_is_cut_short_leaves_nothing(live: Site) -> None:
    """A full disk is said in a sentence; what a killed one left is removed by the next; two at once don't mix."""
    with mounted(3) as disk:
        with pytest.raises(BackupUnusable, match="is full"):
            await write_backup(live.settings, Wanted(disk / "backups"))
        assert names(disk / "backups") == {".lock"}
    (live.backups / ".backup-20260101T000000Z.part").mkdir()
    with writing.locked(live.backups), pytest.raises(BackupUnusable, match="Another backup"):
        await write_backup(live.settings, Wanted(live.backups))
    made = await write_backup(live.settings, Wanted(live.backups))
    assert names(live.backups) == {".lock", made.name}


async def test_the_status_says_how_old_the_backup_is_and_whether_the_archive_goes_on(live: Site) -> None:
    """An archive without a backup, one that stands still, and a backup that is old are wrong; else nothing is."""
    await live.archived()
    async with live.database.acquire() as connection:
        found = await read_backups(connection)  # type: ignore[arg-type]
        assert found is not None and found.wrong() is not None and "no backup to start from" in found.wrong()[0]
        made = await write_backup(live.settings, Wanted(live.backups))
        await live.archived()
        found = await read_backups(connection)  # type: ignore[arg-type]
        assert found is not None and found.name == made.name and found.wrong() is None and found.is_archiving
        await connection.execute("update status.backups set finished_at = finished_at - interval '9 days'")
        found = await read_backups(connection)  # type: ignore[arg-type]
        assert found is not None and found.wrong() == (
            "The last backup is 9.0 days old",
            "run `ballotpress backup DIR`, each day best",
        )
        for archive in live.backups.glob("wal-*"):
            shutil.rmtree(archive)
            archive.write_text("no folder any more")
        await connection.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        async with asyncio.timeout(PATIENCE):
            while (found := await read_backups(connection)) is None or found.is_archiving:  # type: ignore[arg-type]
                await asyncio.sleep(0.02)
        assert found.wrong() is not None and "stands still" in found.wrong()[0]


@both_ways("live")
async def test_a_drill_that_was_killed_is_cleaned_up_by_the_next(live: Site) -> None:
    """Its servers end with it; its folder, which looks like no home folder of a site, is removed by the next drill."""
    await write_backup(live.settings, Wanted(live.backups))
    command = (sys.executable, "-P", "-m", "services.cli", "restore", str(live.backups), "--check")
    given = live.settings
    killed = await asyncio.create_subprocess_exec(
        *command, env=environ(given.database_url, given.redis_url, given.home), stderr=subprocess.PIPE, start_new_session=True
    )
    assert killed.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while b"Verifying" not in await killed.stderr.readline():
            pass
    (left,) = given.home.glob(f"{drill.PREFIX}*")
    os.killpg(killed.pid, signal.SIGKILL)
    await killed.wait()
    async with asyncio.timeout(PATIENCE):
        while processes_naming(left):
            await asyncio.sleep(0.05)
    again = await asyncio.create_subprocess_exec(
        *command, "--json", env=environ(given.database_url, given.redis_url, given.home), stdout=subprocess.PIPE
    )
    out, _ = await again.communicate()
    assert again.returncode == 0 and msgspec.json.decode(out)["lost"]["positions"] == 0
    assert not list(given.home.glob(f"{drill.PREFIX}*"))


def everything(folder: Path) -> set[Path]:
    """Return what is in a folder."""
    return set(folder.rglob("*"))


async def test_a_restore_waits_for_the_processes_of_an_interrupted_one(folder: Path) -> None:
    """PostgreSQL's children outlive a kill for a moment, and would write into what is unpacked anew."""
    data = folder / "postgres.restoring"
    data.mkdir()
    (data / "PG_VERSION").write_text("18")
    lingering = await asyncio.create_subprocess_exec(sys.executable, "-c", "import sys; sys.stdin.read()", cwd=data, stdin=-1)
    clearing = asyncio.create_task(clear(data))
    await asyncio.sleep(0)
    assert not clearing.done() and (data / "PG_VERSION").exists()
    assert lingering.stdin is not None
    lingering.stdin.close()
    await asyncio.gather(clearing, lingering.wait())
    assert not data.exists()


async def test_a_drill_removes_nothing_that_no_drill_made(live: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped site with a name like a drill's stays, keys and all; so does a folder that a stranger put there."""
    monkeypatch.setenv("BALLOTPRESS_HOME", str(folder / "nothing-here"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for name in ("check-restore", f"{drill.PREFIX}mine", f"{drill.PREFIX}abcdefgh"):
        (folder / name).mkdir(mode=0o700)
        (folder / name / "up.lock").touch()
        (folder / name / "secrets").write_text("keys")
    (folder / f"{drill.PREFIX}mine" / drill.MARKER).touch()
    strange = folder / f"{drill.PREFIX}strange1"
    strange.mkdir()
    (strange / "up.lock").touch()
    (strange / drill.MARKER).touch()
    os.chown(strange, 65534, 65534)
    left = folder / f"{drill.PREFIX}left_123"
    left.mkdir(mode=0o700)
    for name in ("up.lock", drill.MARKER):
        (left / name).touch(mode=0o600)
    before = await asyncio.to_thread(everything, folder)
    with pytest.raises(BackupUnusable, match="holds no whole backup"):
        await drill.drill(live.backups, Target(), None, silent)
    assert before - await asyncio.to_thread(everything, folder) == {left, left / "up.lock", left / drill.MARKER}


async def test_a_server_that_ends_while_it_is_asked_has_replayed_nothing(dsn: str, folder: Path) -> None:
    """PostgreSQL answers until it knows that its WAL ends too early; a session that ends with it isn't what went wrong."""
    (sockets,) = parse_qs(urlsplit(dsn).query)["host"]
    name = ".s.PGSQL.5432"

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(65536)) and b"pg_is_in_recovery" not in data:
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"{sockets}/{name}")
        await asyncio.gather(forward(reader, back), forward(there, writer))

    async with await asyncio.start_unix_server(serve, folder / name):
        assert not await is_replayed(dsn.replace(sockets, str(folder)))
    assert await is_replayed(dsn)


async def test_a_moment_out_of_reach_is_answered_by_the_earliest_in_reach(live: Site) -> None:
    """What a backup ended at while more was appended isn't in reach by itself: the next position is."""
    made = await write_backup(live.settings, Wanted(live.backups))
    end = made.manifest.end_position
    with pytest.raises(BackupUnusable, match=f"earliest in reach is position {end}$"):
        chosen(live.backups, Target(position=end - 1))
    with pytest.raises(BackupUnusable, match="earliest in reach is 20") as refused:
        chosen(live.backups, Target(time=made.manifest.began_at))
    said = str(refused.value).rpartition(" is ")[2].replace(" UTC", "+00:00")
    assert chosen(live.backups, Target(time=datetime.fromisoformat(said))).name == made.name
    meanwhile = msgspec.structs.replace(made.manifest, end_position=end + 1)
    (made.path / MANIFEST).write_bytes(msgspec.json.encode(meanwhile))
    with pytest.raises(BackupUnusable, match=f"earliest in reach is position {end + 2}$"):
        chosen(live.backups, Target(position=end + 1))
    assert chosen(live.backups, Target(position=end + 2)).name == made.name


def test_a_short_passphrase_is_refused(folder: Path) -> None:
    """And a folder whose backups are encrypted keeps its key."""
    with pytest.raises(BackupUnusable, match="fewer than 12"):
        encrypt_from_now(folder, "short")
    encrypt_from_now(folder, PASSPHRASE)
    with pytest.raises(BackupUnusable, match="encrypted already"):
        encrypt_from_now(folder, PASSPHRASE)
    assert recipient_of(folder) is not None
    (folder / "plain").write_bytes(b"plain")
    with opened(folder / "plain", None) as file:
        assert file.read() == b"plain"
