"""Private servers for the tests: PostgreSQL and Valkey on Unix sockets in a short folder, ended with the session."""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from services.embedded.account import Account, open_ways, own, server_account
from services.embedded.postgres import programs_folder
from services.embedded.valkey import program_file
from services.migrate import migrate
from tests.support.processes import PATIENCE, Process, wait_for

_numbers = itertools.count(1)

TEMPLATE = "template_ballotpress"
"""A migrated database that each test's own is cloned from."""


def postgres_programs() -> Path:
    """Find PostgreSQL's programs: those of BALLOTPRESS_TEST_POSTGRES (a folder), else the wheel's 18."""
    chosen = os.environ.get("BALLOTPRESS_TEST_POSTGRES")
    return Path(chosen) if chosen else programs_folder()


class Postgres:
    """A server's folder, and how to reach its databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dsn(self, database: str = "postgres") -> str:
        """Name a database of this server."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port=5432"

    def files_with(self, bytes_: bytes) -> list[str]:
        """Return the files of the data folder that hold these bytes; one that is removed meanwhile holds nothing."""
        data = self.folder / "data"
        return [str(file.relative_to(data)) for file in data.rglob("*") if bytes_ in content(file)]


def as_user(account: Account | None) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: give subprocess the user to run it as."""
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def init_postgres(folder: Path) -> None:
    """Make a data folder with trust for its own closed socket folder only."""
    user = server_account(folder)
    own(folder, user)
    if user:
        open_ways(user, (postgres_programs() / "postgres",))
    account = as_user(user)
    version = subprocess.run(
        [postgres_programs() / "postgres", "--version"], capture_output=True, text=True, check=True, **account
    )
    new = int(version.stdout.split()[2].split(".")[0]) >= 17
    locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if new else ["--locale=C.UTF-8"]
    command: list[str | Path] = [
        postgres_programs() / "initdb",
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "--auth=trust",
        "-N",
        "-E",
        "UTF8",
        *locale,
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/", **account)


@contextmanager
def killed_on_failure(process: Process) -> Iterator[None]:
    """Kill a server that is being waited for when the wait fails, or is ended by a signal."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def start_postgres(folder: Path, **settings: str) -> Process:
    """Start a server on an initialised folder and wait until it answers."""
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "200", **settings}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [postgres_programs() / "postgres", "-D", folder / "data", *words]
    user = as_user(server_account(folder))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True, **user)
    with killed_on_failure(process):
        answers = wait_for(lambda: process.poll() is not None or _says_ready(folder, process.pid))
        assert answers and process.poll() is None, (folder / "log").read_text()[-2000:]
    return process


def _says_ready(folder: Path, pid: int) -> bool:
    """Tell whether a server takes connections, by its file, as `pg_ctl` does; one that was killed left another id there."""
    try:
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) == 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def restart_postgres(folder: Path, **settings: str) -> Process:
    """Start a server where one was killed, whose children hold its memory for a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return start_postgres(folder, **settings)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            (folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            time.sleep(0.2)


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """Make a short folder with a data directory for a while."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    try:
        init_postgres(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """Run a PostgreSQL for a while."""
    with postgres_folder() as folder:
        process = start_postgres(folder, **settings)
        try:
            yield Postgres(folder)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def name_of(dsn: str) -> str:
    """Return the name of the database that a DSN names."""
    return dsn.partition("@/")[2].partition("?")[0]


async def execute(dsn: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def make_template(server: Postgres) -> None:
    """Make the database that others are cloned from."""
    await execute(server.dsn(), f"create database {TEMPLATE}")
    await migrate(server.dsn(TEMPLATE))


def dump_and_restore(source: str, target: str) -> None:
    """Copy a database into an empty one, as `pg_dump` writes it."""
    dump = subprocess.run([postgres_programs() / "pg_dump", source], stdout=subprocess.PIPE, check=True).stdout
    restoring = [postgres_programs() / "psql", "--quiet", "--set=ON_ERROR_STOP=1", target]
    subprocess.run(restoring, input=dump, stdout=subprocess.DEVNULL, check=True)


def content(file: Path) -> bytes:
    """Return what a server's file holds; nothing of one that it has removed meanwhile, nor of a folder or socket."""
    try:
        return file.read_bytes() if file.is_file() else b""
    except FileNotFoundError:
        return b""


@asynccontextmanager
async def locked(dsn: str, lock: str) -> AsyncIterator[int]:
    """Hold a lock in a session of its own for a while; give its process id."""
    holder = await asyncpg.connect(dsn)
    try:
        await holder.execute(f"begin; {lock}")
        yield holder.get_server_pid()
    finally:
        await holder.close()


@asynccontextmanager
async def database(server: Postgres, template: str | None = None) -> AsyncIterator[str]:
    """Make a database for a while, as a clone of another if one is named; give its DSN."""
    name = f"test_{next(_numbers)}"
    await execute(server.dsn(), f"create database {name} template {template or 'template0'} strategy file_copy")
    try:
        yield server.dsn(name)
    finally:
        await execute(server.dsn(), f"drop database {name} with (force)")


def filled(server: Postgres, name: str, template: str, fill: Callable[[str], Awaitable[None]]) -> str:
    """Make a database once, as a clone of another, and fill it: tests clone it in turn by its name, which is returned."""

    async def make() -> None:
        await execute(server.dsn(), f"create database {name} template {template} strategy file_copy")
        await fill(server.dsn(name))

    asyncio.run(make())
    return name


@asynccontextmanager
async def _closed(server: Postgres, name: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Keep everybody out of a database for a while; give a connection to another one."""
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(f"alter database {name} allow_connections false")
        while await connection.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1", name
        ):
            await asyncio.sleep(0.02)
        yield connection
        await connection.execute(f"alter database {name} allow_connections true")
    finally:
        await connection.close()


async def save(server: Postgres, dsn: str) -> None:
    """Copy a database as it stands, for `restore`."""
    name = name_of(dsn)
    async with _closed(server, name) as connection:
        await connection.execute(f"create database {name}_saved template {name} strategy file_copy")


async def restore(server: Postgres, dsn: str) -> None:
    """Put the copy of a database in its place."""
    name = name_of(dsn)
    async with _closed(server, name) as connection:
        await connection.execute(f"alter database {name} rename to {name}_lost")
        await connection.execute(f"alter database {name}_saved rename to {name}")
        await connection.execute(f"drop database {name}_lost")


def start_valkey(folder: Path) -> Process:
    """Start a Valkey on a Unix socket in this folder and wait until the socket is there."""
    socket = folder / "valkey.sock"
    socket.unlink(missing_ok=True)
    words = ("--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder)
    process = subprocess.Popen((program_file(), *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with killed_on_failure(process):
        assert wait_for(lambda: socket.exists() or process.poll() is not None) and process.poll() is None
    return process


@contextmanager
def valkey() -> Iterator[tuple[str, Process]]:
    """Run a Valkey for a while; give its URL and process."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    try:
        process = start_valkey(folder)
        try:
            yield f"unix://{folder}/valkey.sock", process
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
