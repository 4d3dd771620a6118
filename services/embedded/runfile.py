"""`HOME/run.json`: what runs for a home folder, so that others can find it and a later start can end it.

Standard library only, because the guard must start fast and stay small. A process is named by its id and its start
time, so that an id used again is never taken for it.
The file is for its owner's eyes (0600): it holds URLs with passwords.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

NAME: Final = "run.json"


@dataclass(frozen=True)
class Running:
    """A process we started: its id, its start in clock ticks since boot, and the signal that ends it in good order."""

    name: str
    pid: int
    started: int
    stop_signal: int = signal.SIGTERM


@dataclass
class Run:
    """One `up`: its own process, what it started (in that order), the settings others need, and a folder to remove."""

    up: Running
    processes: list[Running] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    socket_folder: str | None = None


def process_named(name: str, pid: int, stop_signal: int = signal.SIGTERM) -> Running:
    """Name a process that runs now; raise ProcessLookupError when it doesn't."""
    started = _start_time(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return Running(name, pid, started, stop_signal)


def is_alive(process: Running) -> bool:
    """Tell whether this very process, and not another with its id, still runs."""
    return _start_time(process.pid) == process.started


def _start_time(pid: int) -> int | None:
    """Read field 22 of /proc/PID/stat; None when there is no such process, or only its unreaped remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def read_run(home: Path) -> Run | None:
    """Read what the home folder says is running, alive or not; None when it says nothing."""
    try:
        data = json.loads((home / NAME).read_bytes())
        return Run(
            up=Running(**data["up"]),
            processes=[Running(**entry) for entry in data["processes"]],
            settings=data["settings"],
            socket_folder=data["socket_folder"],
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None


def write_run(home: Path, run: Run) -> None:
    """Replace the file at once, so that a reader sees the old or the new one, never half of it."""
    write_private(home / NAME, json.dumps(asdict(run), indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step; it survives a crash whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def settings_of_running(home: Path) -> dict[str, str]:
    """Return the settings of the `up` that runs on this home, by the names of their variables; empty when none runs."""
    run = read_run(home)
    return run.settings if run and is_alive(run.up) else {}


def end(process: Running, patience: float) -> None:
    """End a process that isn't our child, and its group: in good order, or by force after `patience` seconds."""
    if not is_alive(process):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, process.stop_signal)
    deadline = time.monotonic() + patience
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_group(process.pid)


def kill_group(leader: int) -> None:
    """Kill what is left of the session that a process of ours led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_all(processes: Iterable[Running], seconds: float) -> None:
    """End processes in the reverse of the order they were started in, within about `seconds`."""
    waiting = list(processes)
    deadline = time.monotonic() + seconds
    while waiting:
        process = waiting.pop()
        end(process, (deadline - time.monotonic()) / (len(waiting) + 1))
