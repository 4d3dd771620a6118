"""The archive of WAL: PostgreSQL's `pg_receivewal` beside `up`, which writes down what commits within moments.

A replication slot keeps the WAL that it hasn't received, so there is no gap. Each time that archiving begins anew (a restored
database, another folder) has a folder of its own, and needs a new backup to start from.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from asyncpg import Connection

from events.log import postgres
from services.backup.places import WAL, Backup, BackupUnusable, archives_in, named_now
from services.backup.programs import environ_of, program
from services.clock import now
from services.embedded.supervisor import Program, Supervisor
from services.settings import Settings
from services.status.backups import SLOT

_BEGIN: Final = "select pg_create_physical_replication_slot($1, true)"
_SLOT: Final = "select active from pg_replication_slots where slot_name = $1"
_NONE_YET: Final = "delete from status.backups"
"""Backups from before an archive began can't be its start."""
_KEEP_NO_MORE: Final = (
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active"
)


async def keep_archive(supervisor: Supervisor, settings: Settings) -> None:
    """Keep an archiver running beside the database, if its folder is set. Raises BackupUnusable."""
    connection = await postgres.connect(settings.database_url, "archive")
    try:
        if settings.archive_folder is None:
            # PostgreSQL would keep WAL for an archive that isn't wanted any more, until the disk is full.
            await connection.execute(_KEEP_NO_MORE, SLOT)
            return
        target = await _folder(connection, settings.archive_folder, supervisor)
    finally:
        await connection.close()
    options = (f"--directory={target}", f"--slot={SLOT}", "--synchronous", "--no-loop", "--no-password", "--status-interval=1")
    archiver = Program(
        name="archive",
        command=(str(program("pg_receivewal")), *options),
        environ=environ_of(settings.database_url),
        log=supervisor.home / "archive.log",
    )
    await supervisor.start(archiver)


async def _folder(connection: "Connection[Any]", folder: Path, supervisor: Supervisor) -> Path:
    """Return the folder to go on with, or begin a new one where the database knows of no archive, or the folder of none."""
    known = archives_in(folder)
    if known and await connection.fetchval(_SLOT, SLOT) is not None:
        return known[-1]
    await connection.execute(_KEEP_NO_MORE, SLOT)
    target = folder / named_now(WAL, now())
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupUnusable(f"{folder} can't be written ({error.strerror}): name another folder by --archive") from None
    await connection.fetchval(_BEGIN, SLOT)
    await connection.execute(_NONE_YET)
    supervisor.say(f"Archiving the WAL into {target}; it needs a backup to start from: run `ballotpress backup {folder}` now")
    return target


def remove_before(folder: Path, kept: Sequence[Backup]) -> None:
    """Remove archived WAL that no backup which is kept needs."""
    first = min((backup.manifest.start_segment[8:] for backup in kept), default=None)
    for archive in archives_in(folder) if first else ():
        subprocess.run((program("pg_archivecleanup"), archive, f"00000001{first}"), capture_output=True, check=False)
        if archive != archives_in(folder)[-1] and not any(archive.iterdir()):
            archive.rmdir()
