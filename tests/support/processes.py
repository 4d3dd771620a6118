"""Real processes, driven as an operator would: started, looked at, killed, stopped; above all a whole `ballotpress up`."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from tests.support.settings import clean_environ
from tests.support.stem import Forked

T = TypeVar("T")
Process = subprocess.Popen[bytes]


class Running(Protocol):
    """A process that was started or forked, and can be looked at, killed and waited for."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit status; None if it runs on."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal, if it was not waited for."""

    def kill(self) -> None:
        """Kill it."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended, for so many seconds at most."""


COMMAND = (sys.executable, "-P", "-m", "services.cli")
PATIENCE = float(os.environ.get("BALLOTPRESS_TEST_PATIENCE", "120"))
"""How many seconds anything may take, on the slowest machine, before it counts as broken; more beside others."""


FIRST_PORT = 10_000
_taken: list[socket.socket] = []


def free_port() -> int:
    """Return a port that nothing listens on, and that neither the system nor another run of the tests gives away meanwhile."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])  # the system gives away all from there on
    while True:
        port = FIRST_PORT + secrets.randbelow(end - FIRST_PORT)
        mark = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                mark.bind(f"\0ballotpress-test-port-{port}")  # a name that is free again when this process ends
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        _taken.append(mark)
        return port


def wait_for(look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Look until what is seen is true, or the time is over; return what was seen last."""
    deadline = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen


def start(command: Sequence[str | Path], environ: Mapping[str, str], output: Path | None = None) -> Process:
    """Start a process whose output is appended to a file, or dropped."""
    with (output or Path(os.devnull)).open("ab") as file:
        return subprocess.Popen(command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=file, stderr=file)


@contextmanager
def started(command: Sequence[str | Path], environ: Mapping[str, str], output: Path | None = None) -> Iterator[Process]:
    """Run a process for a while; end it by SIGTERM, and by SIGKILL if it doesn't obey."""
    process = start(command, environ, output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def processes_naming(folder: Path, word: bytes = b"") -> list[int]:
    """Return every other process here whose command or environment names a folder, or that works in it; and names a word, if
    one is given. PostgreSQL's children write over both, and work in its data folder.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            words = said + b"\0" + os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if os.fsencode(folder) in words and word in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def command_of(pid: int) -> str:
    """Return a process's command, and what it waits for, as one line; that it has ended if it has."""
    proc = Path(f"/proc/{pid}")
    try:
        words = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{pid} {words} ({(proc / 'wchan').read_text() or 'runs'})"
    except OSError:
        return f"{pid} has ended"


def kill_all(folder: Path) -> None:
    """Kill every other process that names a folder, and those that they start meanwhile; then none of them is left."""

    def none_is_left() -> bool:
        for pid in (pids := processes_naming(folder)):
            with suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        return not pids

    assert wait_for(none_is_left)


def open_files(pid: int) -> set[str]:
    """Return what a process has open; what it closes meanwhile is left out."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return found


class Fleet:
    """Processes by name, each of which can be killed, frozen and started again, as a supervisor would."""

    def __init__(self, folder: Path, environ: Mapping[str, str], starts: Mapping[str, Callable[[], Running]]) -> None:
        self.folder = folder
        self.environ = environ
        self.starts = starts
        self.processes: dict[str, Running] = {}

    def command(self, *words: str | Path) -> Running:
        """Start `python WORDS`; what it says is appended to one file."""
        return start((sys.executable, *words), self.environ, self.folder / "output")

    def ours(self, *words: str) -> Running:
        """Run `ballotpress WORDS`; what it says is appended to the same file."""
        return Forked(words, self.environ, self.folder / "output")

    def start(self, *names: str) -> None:
        """Start what isn't running, of these names or of all."""
        for name in names or self.starts:
            if name not in self.processes or self.processes[name].poll() is not None:
                self.processes[name] = self.starts[name]()

    def adopt(self, **processes: Running) -> None:
        """Take in processes that were started already."""
        self.processes.update(processes)

    def kill(self, name: str) -> None:
        """Kill a process, as `kill -9` does."""
        self.processes[name].kill()
        self.processes[name].wait()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freeze a process for a while."""
        self.processes[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes[name].send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill every process, the last started first."""
        for name in reversed(self.processes):
            self.processes[name].send_signal(signal.SIGCONT)
            self.kill(name)

    def said(self) -> str:
        """Return the end of what the processes said."""
        output = self.folder / "output"
        return output.read_text()[-3000:] if output.exists() else ""


class Instance:
    """One home folder and the `up` that runs on it; `program` is what stands before the command's words."""

    program: tuple[str, ...] = COMMAND

    def __init__(self, home: Path, *options: str, **environ: str) -> None:
        self.home = home
        self.port = free_port()
        self.options = options
        self.environ = clean_environ(**environ)
        self.output = home.parent / f"{home.name[:40]}.output"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Instance":
        """Start `up` without waiting for it."""
        command = (*self.program, "up", "--home", str(self.home), "--port", str(self.port), *self.options)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=self.environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )
        return self

    def ready(self) -> "Instance":
        """Wait until the API says that it can serve."""
        wait_for(lambda: self.status("/health/ready") == 200 or not self.is_running())
        assert self.status("/health/ready") == 200, self.output.read_text()[-2000:]
        return self

    def is_running(self) -> bool:
        """Tell whether `up` itself runs."""
        return self.process is not None and self.process.poll() is None

    def status(self, path: str) -> int:
        """Return the status of a GET, 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def run(self) -> dict[str, object]:
        """Return what run.json says."""
        content: dict[str, object] = json.loads((self.home / "run.json").read_text())
        return content

    def pid(self, name: str) -> int:
        """Return the id of one of its processes; 0 when none is named so."""
        try:
            processes = self.run()["processes"]
        except (OSError, ValueError):
            return 0
        assert isinstance(processes, list)
        return next((entry["pid"] for entry in processes if entry["name"] == name), 0)

    def database_url(self) -> str:
        """Return the URL of its PostgreSQL."""
        settings = self.run()["settings"]
        assert isinstance(settings, dict)
        return str(settings["DATABASE_URL"])

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run another command on this home."""
        environ = self.environ | {"BALLOTPRESS_HOME": str(self.home)}
        return subprocess.run(
            (*self.program, *words), env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def signal(self, number: signal.Signals) -> int:
        """Send `up` a signal and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End everything, however far a test got."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        kill_all(self.home)

    def processes(self) -> list[int]:
        """Return every process on this machine that names the home folder in its command or environment."""
        return processes_naming(self.home)

    def left(self) -> list[str]:
        """Return the commands of what still runs of it, once it had time to end."""
        wait_for(lambda: not self.processes())
        return [command_of(pid) for pid in self.processes()]
