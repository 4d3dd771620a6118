"""A process that has loaded what ours load at their start, and forks: each fork is `ballotpress WORDS` from there on.

Its environment, folder and files are those it is given, as after a start of its own; it is killed, ended and waited for like
any other. A fork doesn't show the start itself: the tests of processes, deploys, packaging and `up` have real ones (`started`).
"""

import atexit
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Final

LOADED: Final = (
    "services.cli.processes",
    "services.starting",
    "services.web.app",
    "services.projector",
    "services.worker",
    "services.logs",
)
LONGEST: Final = 1 << 17
"""Bytes of what it is asked: an environment above all."""


class Stem:
    """The process that forks, as the tests see it: one for all that this process starts."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = Lock()
        with theirs:
            command = (sys.executable, "-P", __file__, str(theirs.fileno()))
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)

    def ask(self, files: list[int] | None = None, **asked: object) -> int:
        """Ask it something; return the number that it answers."""
        with self._lock:
            socket.send_fds(self._line, [json.dumps(asked).encode()], files or [])
            return int(self._line.recv(LONGEST))

    def end(self) -> None:
        """End it: it waits for nothing else."""
        self._line.close()
        self._process.wait()


@cache
def _stem() -> Stem:
    stem = Stem()
    atexit.register(stem.end)
    return stem


class Forked:
    """A process that was forked: as much of `subprocess.Popen` as is needed for it (`processes.Running`)."""

    def __init__(self, words: tuple[str, ...], environ: Mapping[str, str], output: Path) -> None:
        with Path(os.devnull).open("rb") as nothing, output.open("ab") as said:
            files = [nothing.fileno(), said.fileno(), said.fileno()]
            self.pid = _stem().ask(files, words=words, environ=dict(environ), folder=str(Path.cwd()))
        self._end = os.pidfd_open(self.pid)
        self._status: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it was not waited for: its id may be another's then."""
        if self._status is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it has ended, for so many seconds, and return its exit status; None if it runs on."""
        if self._status is None:
            look = select.poll()
            look.register(self._end, select.POLLIN)
            if look.poll(None if timeout is None else 1000 * timeout):
                self._status = os.waitstatus_to_exitcode(_stem().ask(ended=self.pid))
                os.close(self._end)
        return self._status

    def poll(self) -> int | None:
        """Return its exit status; None if it runs on."""
        return self.wait(0)

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def end(self) -> None:
        """End it by SIGTERM, and by SIGKILL if it doesn't obey."""
        self.send_signal(signal.SIGTERM)
        if self.wait(20) is None:
            self.kill()
            self.wait(20)


@contextmanager
def forked(*words: str, environ: Mapping[str, str], output: Path = Path(os.devnull)) -> Iterator[Forked]:
    """Run `ballotpress WORDS` for a while, without a start."""
    process = Forked(words, environ, output)
    try:
        yield process
    finally:
        process.end()


def _become(files: list[int], words: list[str], environ: Mapping[str, str], folder: str) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = words


def _fork(line: socket.socket) -> bool:
    """Fork and end as asked; return True in a process that was forked, False when nobody asks any more."""
    while True:
        message, files, _, _ = socket.recv_fds(line, LONGEST, 3)
        if not message:
            return False
        asked = json.loads(message)
        if "ended" in asked:
            line.send(str(os.waitpid(asked["ended"], 0)[1]).encode())
            continue
        if (pid := os.fork()) == 0:
            line.close()
            _become(files, **asked)
            return True
        for file in files:
            os.close(file)
        line.send(str(pid).encode())


def _make_router() -> None:
    """Make the router that most sites have: an API that is forked finds it made."""
    from services.identity import Identity
    from services.web.app import ROUTES, router_of

    router_of(tuple(ROUTES), Identity().site_name)


if __name__ == "__main__":
    import gc

    from services.cli import main

    for module in LOADED:
        importlib.import_module(module)
    _make_router()
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a thread isn't there in a fork"
    gc.freeze()
    if _fork(socket.socket(fileno=int(sys.argv[1]))):
        main()
