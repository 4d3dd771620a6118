"""Bring a backup back: unpack it, let PostgreSQL replay the archived WAL up to a moment, and make it the data of a home folder.

It is unpacked beside where data stands and gets that name in the end, so what was interrupted never looks whole.
"""

import asyncio
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from asyncpg import Connection

from events.log import postgres
from events.log.tasks import end
from services.backup.places import BASE, SECRETS, TOKEN, Backup, BackupUnusable, archives_in, backups_in, check, sync
from services.backup.programs import program
from services.backup.sealing import opened
from services.embedded.account import Account, own
from services.embedded.postgres import HALF_RESTORED, USER, program_of
from services.embedded.servers import prepare
from services.embedded.supervisor import Supervisor
from services.newsletter import ledger
from services.private_files import replacing

DATA: Final = "postgres"
WITHIN: Final = 24 * 3600.0
"""Seconds that a replay of the WAL may take."""
LEAVES_WITHIN: Final = 60.0
"""Seconds in which the processes of an interrupted restore end by themselves."""
POLL: Final = 0.2
PARTIAL: Final = ".partial"
"""The end of a file's name that `pg_receivewal` is still writing."""
TRUST: Final = "local all all trust\n"
"""Who replays needs no password: its socket is in a folder that nobody else enters, and it takes no other connections."""
RESTORED: Final = "this database was restored from a backup, and mails may have gone out since"
READ_ARCHIVED_AT: Final = "select log.time_of($1) from log.archives a where $1 between a.first_position and a.last_position"
NOT_REACHED: Final = "recovery ended before configured recovery target was reached"


class Target(msgspec.Struct, frozen=True):
    """The moment to restore to: a time, or a position of the log with the transaction that appended it; neither: the end.

    `in_backup` says that the backup ends at that position.
    """

    time: datetime | None = None
    position: int | None = None
    transaction: str | None = None
    in_backup: bool = False

    def settings(self) -> dict[str, str]:
        """Return PostgreSQL's settings for it; what was in the log when the backup began needs no replay beyond its end."""
        if self.in_backup:
            return {"recovery_target": "immediate"}
        if self.transaction is not None:
            return {"recovery_target_xid": self.transaction}
        return {} if self.time is None else {"recovery_target_time": self.time.isoformat()}

    def __str__(self) -> str:
        """Name it."""
        if self.position is not None:
            return f"position {self.position}"
        return "the end" if self.time is None else f"{self.time:%Y-%m-%d %H:%M:%S %Z}"


def chosen(folder: Path, target: Target) -> Backup:
    """Return the newest backup from which a moment can be reached. Raises BackupUnusable."""
    whole = backups_in(folder)
    if not whole:
        raise BackupUnusable(f"{folder} holds no whole backup: name the folder that `ballotpress backup` was given")
    fit = [one for one in whole if _is_before(one, target)]
    if not fit:
        why = f"The oldest backup in {folder} ends at {target} or after it: there is none to start from"
        raise BackupUnusable(f"{why}; the earliest in reach is {_earliest(whole[0], target)}")
    return fit[-1]


def _earliest(backup: Backup, like: Target) -> Target:
    """Return the first position, or the first whole second, that a backup can be brought to."""
    if like.position is None:
        return Target(time=backup.manifest.finished_at + timedelta(seconds=1))
    end = Target(position=backup.manifest.end_position)
    return end if ends_at(backup, end) else Target(position=backup.manifest.end_position + 1)


def _is_before(backup: Backup, target: Target) -> bool:
    if target.position is not None:
        return backup.manifest.end_position < target.position or ends_at(backup, target)
    return target.time is None or backup.manifest.finished_at <= target.time


def ends_at(backup: Backup, target: Target) -> bool:
    """Tell whether a backup, during which nothing was appended, ends at the position: its transaction isn't replayed."""
    return target.position == backup.manifest.position == backup.manifest.end_position


@asynccontextmanager
async def recovered(supervisor: Supervisor, folder: Path, backup: Backup, target: Target, identity: Any) -> AsyncIterator[str]:
    """Unpack a backup into a home folder and replay the WAL; yield the URL of the server that did.

    It is stopped on the way out. Raises BackupUnusable.
    """
    data = supervisor.home / HALF_RESTORED
    await clear(data)
    account, sockets = prepare(supervisor, data, program("postgres"))
    supervisor.say(f"Checking {backup.name}")
    await asyncio.to_thread(check, backup)
    supervisor.say(f"Unpacking {backup.name}")
    url = f"postgresql://{USER}@/{USER}?host={quote(str(sockets))}&port=5432"
    try:
        await asyncio.to_thread(_unpack, folder, backup, data, account, identity)
        async with _replaying(supervisor, data, account, sockets, target) as serving:
            supervisor.say(f"Replaying the WAL up to {target}")
            await _until_replayed(serving, url, supervisor.home, target)
            await _wait_for_nobody(url)
            yield url
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise


async def clear(data: Path) -> None:
    """Remove what an interrupted restore unpacked, once its PostgreSQL has ended. Raises BackupUnusable."""
    try:
        async with asyncio.timeout(LEAVES_WITHIN):
            while working := _working_in(data):
                await asyncio.sleep(POLL)
    except TimeoutError:
        raise BackupUnusable(f"Process {working} of an interrupted restore still works in {data}: end it first") from None
    with suppress(FileNotFoundError):
        shutil.rmtree(data)


def _working_in(data: Path) -> int | None:
    """Return a process whose working folder this is; PostgreSQL's processes outlive the one that started them for a while."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended, or is another user's
            if link.readlink() == data.resolve():
                return int(link.parent.name)
    return None


def _unpack(folder: Path, backup: Backup, data: Path, account: Account | None, identity: Any) -> None:
    base = backup.file(BASE)
    if base is None:
        raise BackupUnusable(f"{backup.path} lacks {BASE}: choose another backup")
    own(data, account)
    try:
        with opened(base, identity) as plain, tarfile.open(fileobj=plain, mode="r|gz") as tar:
            tar.extractall(data, filter="data")
        _verify(data)
        _add_wal(archives_in(folder), backup.manifest.start_segment, data / "pg_wal")
    except (tarfile.TarError, EOFError) as error:
        raise BackupUnusable(f"{base} can't be unpacked ({error}): choose another backup") from None
    except OSError as error:
        why = "the disk is full: free some space" if error.errno == 28 else error.strerror or error
        raise BackupUnusable(f"{data} can't be written ({why})") from None
    for path in [data, *data.rglob("*")]:
        if account is not None:
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        path.chmod(0o700 if path.is_dir() else 0o600)


def _add_wal(archives: Sequence[Path], start: str, target: Path) -> None:
    """Copy the archived WAL from a file on, and the histories of timelines; the file that was being written comes last."""
    for tail in ("", PARTIAL):
        for file in (file for archive in archives for file in sorted(archive.iterdir())):
            name = file.name.removesuffix(tail)
            is_wanted = (len(name) == len(start) and name[8:] >= start[8:]) or name.endswith(".history")
            if file.name == name + tail and is_wanted and not (tail and (target / name).exists()):
                shutil.copyfile(file, target / name)


def _verify(data: Path) -> None:
    """Compare every file with the hashes that PostgreSQL gave. Raises BackupUnusable."""
    found = subprocess.run(
        (program("pg_verifybackup"), "--no-parse-wal", "--quiet", data), capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise BackupUnusable(
            f"The backup isn't what PostgreSQL wrote ({(found.stderr.splitlines() or ['?'])[0]}): choose another one"
        )


@asynccontextmanager
async def _replaying(
    supervisor: Supervisor, data: Path, account: Account | None, sockets: Path, target: Target
) -> AsyncIterator["asyncio.Task[None]"]:
    (data / "recovery.signal").touch(mode=0o600)
    trust = sockets / "trust"
    trust.write_text(TRUST)
    if account is not None:
        for path in (data / "recovery.signal", trust):
            os.chown(path, account.uid, account.gid)
    more = {
        "hba_file": str(trust),
        "restore_command": "false",  # all that was archived lies in pg_wal, where the server's user may read it
        "recovery_target_action": "promote",
        "archive_mode": "off",
        "synchronous_standby_names": "",
        **target.settings(),
    }
    server = program_of(supervisor.home, program("postgres").parent, data, account, sockets, more)
    serving = asyncio.create_task(supervisor.run_once(server))
    try:
        yield serving
    finally:
        await end(serving)
        trust.unlink(missing_ok=True)


async def _until_replayed(serving: "asyncio.Task[None]", url: str, home: Path, target: Target) -> None:
    async with asyncio.timeout(WITHIN):
        while not await is_replayed(url):
            await asyncio.wait([serving], timeout=POLL)
            if serving.done():
                raise BackupUnusable(_why(home / "postgres.log", serving.exception(), target))


def _why(log: Path, error: BaseException | None, target: Target) -> str:
    said = log.read_text(errors="replace")[-4000:] if log.exists() else ""
    if NOT_REACHED in said:
        return f"The archived WAL ends before {target}: restore to the end, or to an earlier moment"
    return f"PostgreSQL could not replay the WAL: {error or 'it ended'}; see {log}"


async def is_replayed(url: str) -> bool:
    """Return whether a server has replayed all that it was to. It answers until it gives up: then, and before, it hasn't."""
    try:
        connection = await postgres.connect(url, "restore", seconds=10)
        try:
            return not await connection.fetchval("select pg_is_in_recovery()")
        finally:
            await connection.close()
    except postgres.FAILED:
        return False


async def transaction_of(url: str, position: int) -> str:
    """Return the transaction that appended the event at a position.

    Raises BackupUnusable if the log ends before it, or if its part was ever archived, and so written by another transaction.
    """
    connection = await postgres.connect(url, "restore", seconds=60)
    try:
        await _must_be_as_appended(connection, position)
        found: str | None = await connection.fetchval("select xmin::text from log.events where position = $1", position)
    finally:
        await connection.close()
    if found is None:
        raise BackupUnusable(f"The archived WAL ends before position {position}: restore to the end, or to an earlier moment")
    return found


async def _must_be_as_appended(connection: "Connection[Any]", position: int) -> None:
    if not await connection.fetchval("select to_regclass('log.archives') is not null"):
        return
    if at := await connection.fetchval(READ_ARCHIVED_AT, position):
        raise BackupUnusable(
            f"Position {position} is in a part that was archived, so it isn't known which transaction appended it: restore to"
            f" a time after {at:%Y-%m-%dT%H:%M:%S.%fZ}, when it was recorded"
        )


async def _wait_for_nobody(url: str) -> None:
    """Have commits wait for no standby, whatever the backup's settings say: none follows a restored server yet."""
    connection = await postgres.connect(url, "restore", seconds=60)
    try:
        await connection.execute("alter system set synchronous_standby_names = ''")
    finally:
        await connection.close()


async def hold_mails(url: str) -> None:
    """Hold the newsletter until an operator has looked at what went out since."""
    connection = await postgres.connect(url, "restore", seconds=60)
    try:
        if await connection.fetchval("select to_regclass('newsletter.schedule') is not null"):
            await ledger.hold(connection, RESTORED)
    finally:
        await connection.close()


def must_be_free(home: Path) -> None:
    """Check that a home folder holds no database. Raises BackupUnusable."""
    if (home / DATA).exists():
        raise BackupUnusable(
            f"{home} holds a database: stop what runs on it and move {home / DATA} away first, or name another home by --home"
        )


def bring_home(home: Path, backup: Backup, identity: Any, apart: Path | None) -> list[str]:
    """Make what was unpacked the data of its home folder, with the keys, if it has none of its own; return which it had.

    Raises BackupUnusable.
    """
    there = []
    for name in (SECRETS, TOKEN):
        if (home / name).exists():
            there.append(name)
            continue
        source = apart if name == SECRETS and apart is not None else backup.file(name)
        if source is not None:
            with opened(source, identity) as plain, replacing(home / name) as file:
                shutil.copyfileobj(plain, file)
        elif name == SECRETS:
            raise BackupUnusable(f"The backup holds no secrets, and {home} has none: name their file by --secrets")
    with suppress(FileNotFoundError):
        (home / HALF_RESTORED / "recovery.signal").unlink()
    (home / HALF_RESTORED).rename(home / DATA)
    sync(home)
    return there
