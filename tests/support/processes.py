"""A real `ballotpress up` on a folder of its own, driven as an operator would: start, look, kill, stop."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

COMMAND = (sys.executable, "-P", "-m", "services.cli")


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(look: Callable[[], T], seconds: float = 20) -> T:
    """Look until what is seen is true, or the time is over; return what was seen last."""
    deadline = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return seen


def clean_environ(**more: str) -> dict[str, str]:
    """Return our environment without what would set a process up."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BALLOTPRESS_") and not k.endswith("_URL")}
    return kept | more


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
        wait_for(lambda: self.status("/health/ready") == 200 or not self.is_running(), 60)
        assert self.status("/health/ready") == 200, self.output.read_text()[-2000:]
        return self

    def is_running(self) -> bool:
        """Tell whether `up` itself runs."""
        return self.process is not None and self.process.poll() is None

    def status(self, path: str) -> int:
        """Return the status of a GET, 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
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
        return subprocess.run((*self.program, *words), env=environ, capture_output=True, text=True, timeout=60, check=False)

    def signal(self, number: signal.Signals) -> int:
        """Send `up` a signal and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def stop(self) -> None:
        """End everything, however far a test got."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return every process on this machine that names the home folder in its command or environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.home) in words and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    def is_gone(self) -> bool:
        """Tell whether nothing of it runs any more, within the five seconds that are promised."""
        return wait_for(lambda: not self.processes(), 5)
