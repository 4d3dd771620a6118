"""A PostgreSQL and its streaming standby, on Unix sockets, in either of two folders: killed, promoted, cloned anew."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from services.embedded.account import Account, own, server_account
from tests.support import servers
from tests.support.processes import PATIENCE, Process

STANDBY = "standby"
"""What a standby calls itself, as `synchronous_standby_names` names it."""

_STATE = "select max(sync_state) from pg_stat_replication where state = 'streaming'"


def both_ways(fixture: str) -> pytest.MarkDecorator:
    """Return what runs a test on a server alone, and once more behind a synchronous replica, as the fixture makes them."""
    return pytest.mark.parametrize(fixture, [False, True], ids=["alone", "with a replica"], indirect=True)


class Pair:
    """Two servers, of which one takes writes and the other follows it."""

    def __init__(self, *folders: Path, **settings: str) -> None:
        self.folders = folders
        self._settings = settings
        self.processes: list[Process | None] = [None, None]
        self.primary = 0

    @property
    def standby(self) -> int:
        """Return the number of the one that follows."""
        return 1 - self.primary

    def dsn(self, database: str = "postgres", query: str = "target_session_attrs=read-write") -> str:
        """Name a database of whichever takes writes, as an operator would."""
        hosts = ",".join(map(str, self.folders))
        return f"postgresql://postgres@/{database}?host={hosts}&port=5432&{query}"

    def one(self, number: int, database: str = "postgres") -> str:
        """Name a database of one of the two."""
        return servers.Postgres(self.folders[number]).dsn(database)

    def start(self, number: int) -> Process:
        """Start one of the two, also where it was killed just now."""
        process = self.processes[number] = servers.restart_postgres(self.folders[number], **self._settings)
        return process

    def clone(self) -> None:
        """Make the standby of a copy of the primary, and start it."""
        folder = self.folders[self.standby]
        clone(self.folders[self.primary], folder)
        self.start(self.standby)

    def kill(self, number: int) -> None:
        """Kill one of the two without warning."""
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.kill()
            process.wait()

    @contextmanager
    def frozen(self, number: int) -> Iterator[None]:
        """Freeze all processes of one of the two, as a machine that hangs; thaw them at the end."""
        process = self.processes[number]
        assert process is not None
        pids = [process.pid, *children(process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    async def promote(self) -> None:
        """Let the standby take writes; the other is the standby from now on, whatever it does."""
        assert await value(self.one(self.standby), f"select pg_promote(true, {int(PATIENCE)})")
        self.primary = self.standby

    async def wait_for_standby(self, *, synchronous: bool) -> None:
        """Let commits wait for the standby from now on, or not; return once it streams."""
        await follows(self.one(self.primary), synchronous=synchronous)

    def end(self) -> None:
        """Kill both."""
        for number in range(len(self.folders)):
            self.kill(number)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def value(dsn: str, statement: str) -> object:
    """Return what a statement says, on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def follows(primary: str, *, synchronous: bool) -> None:
    """Let a server's commits wait for its standby from now on, or not; return once it streams."""
    name, wanted = (f"'{STANDBY}'", "sync") if synchronous else ("''", "async")
    await servers.execute(primary, f"alter system set synchronous_standby_names = {name}")
    await servers.execute(primary, "select pg_reload_conf()")
    while await value(primary, _STATE) != wanted:
        await asyncio.sleep(0.05)


def clone(primary: Path, folder: Path) -> None:
    """Copy a running server's data into a folder, as those of a standby that will follow it."""
    copy(f"host={primary} user=postgres application_name={STANDBY}", folder, server_account(primary))


def copy(source: str, folder: Path, account: Account | None) -> None:
    """Copy the data of a running server into a folder of its user's, as those of a standby that will follow it."""
    own(folder, account)
    shutil.rmtree(folder / "data", ignore_errors=True)
    command = (servers.postgres_programs() / "pg_basebackup", "-D", folder / "data", "-R", "-X", "stream", "-c", "fast")
    user = servers.as_user(account)
    done = subprocess.run((*command, "-d", source), capture_output=True, text=True, check=False, cwd="/", **user)
    assert done.returncode == 0, done.stderr
    # It is the first to be asked for its own commits once it takes writes; nobody follows it yet.
    with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("synchronous_standby_names = ''\n")


@contextmanager
def pair(**settings: str) -> Iterator[Pair]:
    """Run a primary for a while, with these settings; its standby is made by `clone`."""
    with servers.postgres_folder() as first:
        second = Path(tempfile.mkdtemp(prefix="bp-"))
        both = Pair(first, second, **settings)
        try:
            both.start(0)
            yield both
        finally:
            both.end()
            shutil.rmtree(second, ignore_errors=True)
