"""`HOME/run.json`: the processes of a home folder, which other commands find and a later start ends.

Standard library only, because the guard must start fast and stay small. A process is named by its id, its start time and
the machine's boot, so that another process with the same id is never taken for it.
Only its owner may read the file (0600), because it holds URLs with passwords.
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

from services.private_files import must_be_ours, write_private

NAME: Final = "run.json"


@dataclass(frozen=True)
class Running:
    """A process: its id, its start in clock ticks since boot, the signal that stops it in order, and the boot's id.

    The boot is empty where an earlier release wrote the file.
    """

    name: str
    pid: int
    started: int
    stop_signal: int = signal.SIGTERM
    boot: str = ""


@dataclass
class Run:
    """One `up`: its process, those it started (in order), the settings other commands need, and a folder to remove."""

    up: Running
    processes: list[Running] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    socket_folder: str | None = None


def process_named(name: str, pid: int, stop_signal: int = signal.SIGTERM) -> Running:
    """Return a process that runs now. Raises ProcessLookupError when it doesn't."""
    started = _start_time(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return Running(name, pid, started, stop_signal, _boot())


def is_alive(process: Running) -> bool:
    """Check whether this very process, and not another with its id, still runs."""
    return _start_time(process.pid) == process.started and process.boot in ("", _boot())


def _boot() -> str:
    """Return the id of the machine's present boot: a start time counts from there."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat; None when there is no such process, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def read_run(home: Path) -> Run | None:
    """Return the run that `run.json` names, alive or not; None without a readable file. Raises NotOurs."""
    must_be_ours(home, is_folder=True)
    must_be_ours(home / NAME)
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
    """Replace the file in one step, so that a reader sees the old one or the new one."""
    write_private(home / NAME, json.dumps(asdict(run), indent=1) + "\n")


def settings_of_running(home: Path) -> dict[str, str]:
    """Return the variables of the `up` that runs on this home folder; none when none runs."""
    run = read_run(home)
    return run.settings if run and is_alive(run.up) else {}


def end(process: Running, patience: float) -> None:
    """End a process that isn't our child, and its group: by its signal, then by force after `patience` seconds."""
    if not is_alive(process):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, process.stop_signal)
    deadline = time.monotonic() + patience
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    kill_group(process.pid)


def kill_group(leader: int) -> None:
    """Kill every process left in the session that this process led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_all(processes: Iterable[Running], seconds: float) -> None:
    """End processes, the last started first, within about `seconds`."""
    waiting = list(processes)
    deadline = time.monotonic() + seconds
    while waiting:
        process = waiting.pop()
        end(process, (deadline - time.monotonic()) / (len(waiting) + 1))
