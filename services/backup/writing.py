"""Write a backup of the private PostgreSQL: one stream of `pg_basebackup` with the WAL that it needs, and the secrets apart.

A backup gets its name when all of it is on the disk and was read back; until then nothing in the folder looks like one.
"""

import asyncio
import re
import secrets as random
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec
from asyncpg import Connection

from events.log import migrate, postgres
from services.backup import archive
from services.backup.places import (
    BASE,
    MANIFEST,
    PART,
    PREFIX,
    SEALED,
    SECRETS,
    TOKEN,
    Backup,
    BackupUnusable,
    Manifest,
    backups_in,
    locked,
    named_now,
    read_backup,
    remove,
    stored_file,
    sync,
)
from services.backup.programs import environ_of, program
from services.backup.sealing import copy, recipient_of
from services.clock import now
from services.private_files import replacing
from services.settings import Settings

Report = Callable[[int, int], None]
"""Is told of how many bytes of a database are read, of how many in all."""

_PROGRESS: Final = re.compile(r"([0-9]+)/([0-9]+) kB \(")
_HOLD_WAL: Final = "select lsn from pg_create_physical_replication_slot($1, true, true)"
_STATE: Final = """
select (select position from log.head) as position, pg_walfile_name(s.restart_lsn) as segment
from pg_replication_slots s where s.active_pid = pg_backend_pid()
"""
_NOTE: Final = "insert into status.backups (finished_at, name, position, bytes) values ($1, $2, $3, $4) on conflict do nothing"


class Wanted(NamedTuple):
    """Where a backup goes, how many stay (None: all), and where its secrets go, if not into it."""

    folder: Path
    keep: int | None = None
    secrets: Path | None = None


class _Begun(NamedTuple):
    at: datetime
    position: int
    segment: str


async def write_backup(settings: Settings, wanted: Wanted, report: Report = lambda done, of: None) -> Backup:
    """Write a backup of a private database, check it, and remove those beyond the number to keep.

    Raises BackupUnusable.
    """
    with locked(wanted.folder):
        backup = await _write(settings, wanted, report)
        connection = await postgres.connect(settings.database_url, "backup")
        try:
            manifest = backup.manifest
            await connection.execute(_NOTE, manifest.finished_at, backup.name, manifest.position, backup.bytes)
        finally:
            await connection.close()
        await asyncio.to_thread(thin_out, wanted.folder, wanted.keep)
    return backup


async def _write(settings: Settings, wanted: Wanted, report: Report) -> Backup:
    at = now()
    name = named_now(PREFIX, at)
    part, path = wanted.folder / f".{name}{PART}", wanted.folder / name
    if path.exists():
        raise BackupUnusable(f"{path} is there already: wait a second")
    part.mkdir(mode=0o700)
    try:
        async with _held_wal(settings.database_url) as connection:
            (state,) = await connection.fetch(_STATE)
            begun = _Begun(at, state["position"], state["segment"])
            recipient = recipient_of(wanted.folder)
            await asyncio.to_thread(_stream, settings.database_url, part, recipient, report)
            end = await connection.fetchval("select position from log.head")
            migration = await migrate.migrated(connection)
        await asyncio.to_thread(_keep_secrets, settings.home, part, wanted.secrets, recipient)
        await asyncio.to_thread(_finish, part, path, begun, end, migration, recipient is not None)
    except ConnectionError:
        raise
    except OSError as error:
        raise BackupUnusable(_said(error, wanted.folder)) from None
    finally:
        remove(part)
    return read_backup(path)


@asynccontextmanager
async def _held_wal(database_url: str) -> "AsyncIterator[Connection[Any]]":
    """Yield a session by which PostgreSQL keeps all WAL from now on; a slot that goes with the session says so."""
    connection = await postgres.connect(database_url, "backup")
    try:
        await connection.fetchval(_HOLD_WAL, f"ballotpress_backup_{random.token_hex(4)}")
        yield connection
    finally:
        await connection.close()


def _stream(database_url: str, part: Path, recipient: Any, report: Report) -> None:
    """Write the base backup. Raises OSError, BackupUnusable."""
    options = ("--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--compress=client-gzip:1")
    command = (program("pg_basebackup"), *options, "--manifest-checksums=SHA256", "--no-password", "--progress")
    # In our process group, so that Ctrl-C ends it too.
    environ = environ_of(database_url)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None  # noqa: S101 - pipes
        lines: list[str] = []
        listening = threading.Thread(target=_listen, args=(process.stderr, lines, report))
        listening.start()
        try:
            _copy_to(part / BASE, process.stdout, recipient)
        except BaseException:
            process.kill()
            raise
        finally:
            listening.join()
    if process.returncode:
        raise BackupUnusable(f"pg_basebackup failed: {lines[-1] if lines else process.returncode}")


def _listen(said: IO[bytes], lines: list[str], report: Report) -> None:
    """Read what `pg_basebackup` says: report how far it is, and keep the other lines."""
    for raw in said:
        line = raw.decode(errors="replace").strip()
        if found := _PROGRESS.match(line):
            report(int(found[1]) * 1024, int(found[2]) * 1024)
        elif line:
            lines.append(line)


def _copy_to(path: Path, source: IO[bytes], recipient: Any) -> None:
    with replacing(path if recipient is None else path.with_name(path.name + SEALED)) as file:
        copy(source, file, recipient)


def _keep_secrets(home: Path, part: Path, apart: Path | None, recipient: Any) -> None:
    """Keep the keys of the home folder: in the backup, or in a file of their own elsewhere. Raises OSError."""
    if apart is not None:
        with replacing(apart) as file:
            file.write((home / SECRETS).read_bytes())
        return
    for name in (SECRETS, TOKEN):
        if (home / name).exists():
            with (home / name).open("rb") as source:
                _copy_to(part / name, source, recipient)


def _finish(part: Path, path: Path, begun: _Begun, end: int, migration: int, encrypted: bool) -> None:
    """Read back what was written, write the manifest, and give the backup its name. Raises OSError, BackupUnusable."""
    files = {file.name: stored_file(file) for file in sorted(part.iterdir())}
    manifest = Manifest(
        format=1,
        release=version("ballotpress"),
        began_at=begun.at,
        finished_at=now(),
        position=begun.position,
        end_position=end,
        migration=migration,
        start_segment=begun.segment,
        encrypted=encrypted,
        files=files,
    )
    with replacing(part / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    sync(part)
    part.rename(path)
    sync(path.parent)


def thin_out(folder: Path, keep: int | None) -> None:
    """Remove all backups but the newest `keep`, and the archived WAL that none of those needs. Raises BackupUnusable."""
    whole = backups_in(folder)
    for backup in whole[:-keep] if keep else ():
        remove(backup.path)
    archive.remove_before(folder, whole[-keep:] if keep else whole)


def _said(error: OSError, folder: Path) -> str:
    if error.errno == 28 or "No space left" in str(error):
        return f"The disk of {folder} is full: free some space, or keep fewer backups with --keep; nothing was left there"
    return f"{folder} can't be written ({error.strerror or error}): name another folder; nothing was left there"
