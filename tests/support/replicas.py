"""A PostgreSQL with two streaming replicas, each of which can be frozen, killed, held up, promoted and made anew."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from events.log import postgres, wal
from events.log.tasks import end
from services.replicas.readers import Readers
from services.replicas.replica import Replica as Known
from tests.support import servers, standbys
from tests.support.processes import Process
from tests.support.runners import until

Open = Callable[[], AbstractAsyncContextManager[Readers]]
"""Opens what a process reads through."""

_WRITTEN = f"select {wal.WRITTEN}"
_HAS = f"select {wal.REPLAYED} >="


class Replica:
    """One replica of a server."""

    def __init__(self, primary: Path, folder: Path) -> None:
        self.folder = folder
        self._primary = primary
        self._process: Process | None = None

    def dsn(self, database: str = "postgres") -> str:
        """Name a database there."""
        return servers.Postgres(self.folder).dsn(database)

    def make(self) -> None:
        """Make it of a copy of the primary, and start it. What reads there is soon ended where it keeps changes waiting."""
        self.kill()
        standbys.clone(self._primary, self.folder)
        self._set("max_standby_streaming_delay", "100ms")
        self.start()

    def start(self) -> None:
        """Start it, also where it was killed just now."""
        if self._process is None:
            self._process = servers.restart_postgres(self.folder)

    def kill(self) -> None:
        """Kill it without warning."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    async def delay(self, by: str) -> None:
        """Have it take what is committed so much later."""
        self._set("recovery_min_apply_delay", by)
        await self.says("select pg_reload_conf()")

    def _set(self, name: str, value: str) -> None:
        with (self.folder / "data" / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"{name} = '{value}'\n")

    async def mend(self) -> None:
        """Let it run and follow, whatever was done to it."""
        self.start()
        await self.delay("0")
        if not await self.says("select pg_is_in_recovery()"):
            self.make()
        await self.says("select pg_wal_replay_resume()")

    async def says(self, statement: str) -> object:
        """Return what a statement says there."""
        return await standbys.value(self.dsn(), statement)

    async def promote(self) -> None:
        """Let it take writes beside the primary."""
        assert await self.says("select pg_promote()")

    async def go_astray(self) -> None:
        """Follow as an old primary does that was made a standby without `pg_rewind`: its changes are others, and more."""
        await self.promote()
        for _ in range(3):
            await self.says("select pg_logical_emit_message(true, 'astray', '')")
            await self.says("select pg_switch_wal()")
        self.kill()
        (self.folder / "data" / "standby.signal").touch()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a while."""
        assert self._process is not None
        with frozen(self._process.pid):
            yield


@contextmanager
def frozen(server: int) -> Iterator[None]:
    """Freeze a server for a while, with all that serves its sessions: it takes connections and answers nothing."""
    pids = [server, *_children(server)]
    try:
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(pids):
            _signal(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


class Cluster:
    """A primary and its two replicas."""

    def __init__(self, primary: servers.Postgres, folders: Sequence[Path]) -> None:
        self.primary = primary
        self.replicas = [Replica(primary.folder, folder) for folder in folders]

    def primary_pid(self) -> int:
        """Return the primary's process."""
        return int((self.primary.folder / "data" / "postmaster.pid").read_text().split()[0])

    def url(self, database: str, *chosen: Replica) -> str:
        """Name a database at the replicas, or at some, as an operator would."""
        hosts = ",".join(str(replica.folder) for replica in chosen or self.replicas)
        return f"postgresql://postgres@/{database}?host={hosts}&port=5432"

    async def mend(self) -> None:
        """Let both replicas run and follow, and have all that the primary has."""
        for replica in self.replicas:
            await replica.mend()
        await self.in_step()

    async def in_step(self) -> None:
        """Wait until both replicas have all that the primary has now."""
        written = await self.says(_WRITTEN)
        for replica in self.replicas:
            await until(lambda replica=replica: replica.says(f"{_HAS} {written}"))

    async def says(self, statement: str) -> object:
        """Return what a statement says at the primary."""
        return await standbys.value(self.primary.dsn(), statement)

    def used(self, readers: Readers) -> Replica:
        """Return the replica that is read from."""
        (name,) = (one.name for one in readers.standings() if one.used)
        return next(replica for replica in self.replicas if name.startswith(str(replica.folder)))


@contextmanager
def cluster(**settings: str) -> Iterator[Cluster]:
    """Run a primary and two replicas for a while."""
    with ExitStack() as stack:
        primary = stack.enter_context(servers.postgres(**settings))
        made = Cluster(primary, [Path(tempfile.mkdtemp(prefix="bp-")) for _ in range(2)])
        for replica in made.replicas:
            stack.callback(shutil.rmtree, replica.folder, ignore_errors=True)
            stack.callback(replica.kill)
            replica.make()
        yield made


@asynccontextmanager
async def reading(dsn: str, replicas: Sequence[Known], seconds: float = 5) -> AsyncIterator[Readers]:
    """Read as a process does, for a while; a read at the primary, and a connection there, may take so many seconds."""
    async with postgres.pool(dsn, "web", size=10, seconds=seconds, connect_seconds=seconds) as primary:
        readers = Readers(dsn, primary, replicas)
        task = asyncio.create_task(readers.run())
        try:
            yield readers
        finally:
            await end(task)
