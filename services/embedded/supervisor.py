"""Keep processes running: each in its own session, restarted when it dies, stopped in reverse order.

A process waits at a gate until `run.json` names it; if we die before that, the gate's pipe closes and the process
ends. So no process ever runs that the guard and the next start couldn't find.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Final

import msgspec

from services.embedded.account import Account
from services.embedded.runfile import Run, kill_group, process_named, write_run

FIRST_PAUSE: Final = 0.5
"""Seconds before a process that ended is started again; each next pause is twice as long."""
LONGEST_PAUSE: Final = 15.0
LONG_ENOUGH: Final = 30.0
"""Seconds; a process that ran longer is started again after the first pause."""
ENDS_BEFORE_GIVING_UP: Final = 6
POLL: Final = 0.05
NO_SPACE: Final = "No space left on device"
LATELY: Final = 15
"""Lines of a log in which a full disk is looked for."""
LEAST_ROOM: Final = 2**20
"""Bytes."""
GATE: Final = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")

Say = Callable[[str], None]


class NotStarted(Exception):
    """A process did not become ready; the message is one sentence that says where to look."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A command and how to stop it: `stop_signal`, then force after `patience` seconds. Without `log` it shares our output."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    account: Account | None = None
    log: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 8.0


class Supervisor:
    """Starts programs in order, and keeps each running until `stop`."""

    def __init__(self, home: Path, run: Run, say: Say) -> None:
        self.home = home
        self.say = say
        self._run = run
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, int] = {}

    async def start(self, program: Program, ready: Callable[[], Awaitable[bool]] | None = None, within: float = 60.0) -> None:
        """Start a program and wait until it is ready. Raises NotStarted when it takes too long or keeps dying."""
        self._ends[program.name] = 0
        self._tasks[program.name] = asyncio.create_task(self._keep(program), name=program.name)
        deadline = time.monotonic() + within
        while ready is not None and not await ready():
            if time.monotonic() > deadline or self._ends[program.name] >= ENDS_BEFORE_GIVING_UP:
                where = f"its last words, in {program.log}: {_last_line(program.log)}" if program.log else "see above"
                raise NotStarted(f"{program.name} did not start{_full_disk(program, self.home)}; {where}")
            await asyncio.sleep(POLL)

    async def run_once(self, program: Program) -> None:
        """Run a program to its end. Raises NotStarted when it fails."""
        process = await self._spawn(program)
        try:
            code = await process.wait()
        finally:
            await self._end(program, process)
        if code:
            raise NotStarted(f"{program.name} failed; its last words: {_last_line(program.log)}")

    async def stop(self) -> None:
        """Stop everything, the last started first."""
        while self._tasks:
            _, task = self._tasks.popitem()
            task.cancel()
            await asyncio.wait([task])

    def publish(self, settings: Mapping[str, str], socket_folder: Path | None = None) -> None:
        """Write these settings, and a folder to remove in the end, to `run.json`."""
        self._run.settings.update(settings)
        if socket_folder is not None:
            self._run.socket_folder = str(socket_folder)
        write_run(self.home, self._run)

    @property
    def socket_folder(self) -> Path | None:
        """Return the folder of the sockets, if it was made."""
        return Path(self._run.socket_folder) if self._run.socket_folder else None

    async def _keep(self, program: Program) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            how = await self._run_until_it_ends(program)
            self._ends[program.name] += 1
            if time.monotonic() - began > LONG_ENOUGH:
                pause = FIRST_PAUSE
            self.say(f"{program.name} {how}{_full_disk(program, self.home)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run_until_it_ends(self, program: Program) -> str:
        try:
            process = await self._spawn(program)
        except OSError as error:
            return f"could not be started ({error.strerror or error})"
        try:
            code = await process.wait()
        finally:
            await self._end(program, process)
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    async def _spawn(self, program: Program) -> Process:
        account = program.account
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(_opened(program.log)) if program.log else None
            process = await asyncio.create_subprocess_exec(
                *GATE,
                *program.command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=program.environ,
                start_new_session=True,
                umask=0o077,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                cwd="/" if account else None,
            )
        gate = process.stdin
        assert gate is not None  # noqa: S101 - for the type checker: stdin is a pipe
        try:
            self._run.processes.append(process_named(program.name, process.pid, program.stop_signal))
            write_run(self.home, self._run)
            gate.write(b"\n")
        except ProcessLookupError:
            pass  # the process has ended already: its caller, who waits for it, will see that
        finally:
            gate.close()
        return process

    async def _end(self, program: Program, process: Process) -> None:
        """End a process and the rest of its session, and remove it from `run.json`."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(program.stop_signal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(program.patience):
                    await process.wait()
        kill_group(process.pid)
        await process.wait()
        self._run.processes[:] = [running for running in self._run.processes if running.pid != process.pid]
        with contextlib.suppress(OSError):  # on a full disk the entry stays, and names a process that has ended
            write_run(self.home, self._run)


def _opened(log: Path) -> IO[bytes]:
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab")


def _full_disk(program: Program, home: Path) -> str:
    """Return a clause that names a full disk, if one is to blame: the log says so, where there was room for that."""
    said = any(NO_SPACE in line for line in _lines(program.log)[-LATELY:])
    try:
        is_full = said or shutil.disk_usage(home).free < LEAST_ROOM
    except OSError:
        is_full = said
    return f", because the disk of {home} is full: free some space" if is_full else ""


def _lines(log: Path | None) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines() if log else []
    except OSError:
        return []


def _last_line(log: Path | None) -> str:
    lines = _lines(log)
    return next((line.strip() for line in reversed(lines) if line.strip()), "none")
