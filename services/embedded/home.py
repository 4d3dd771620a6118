"""The home folder of `ballotpress up`: one `up` at a time, its keys, and nothing left running after it.

It holds `secrets` and `operator.token` (0600), `run.json`, `up.lock`, and the servers' data, logs and sockets.
"""

import asyncio
import base64
import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from services.embedded.guard import GOODBYE, end_run, remove_sockets
from services.embedded.runfile import NAME, Run, is_alive, process_named, read_run, write_run
from services.embedded.supervisor import Say, Supervisor
from services.private_files import must_be_ours, write_private

GUARD_NEEDS: Final = 15.0
"""Seconds that a guard has to end the processes of a killed `up`."""


class HomeInUse(Exception):
    """Another `up` runs on this home folder; the message is one sentence."""


class HomeUnusable(Exception):
    """The home folder can't be made, or there is none yet; the message is one sentence."""


class KeysMissing(Exception):
    """The home folder holds data without the keys to it; the message is one sentence."""


@contextlib.asynccontextmanager
async def opened_home(home: Path, say: Say) -> AsyncIterator[Supervisor]:
    """Lock the home folder and end the processes of an earlier run; on the way out, stop everything that was started.

    Raises HomeInUse at once when another `up` runs on it, HomeUnusable, and NotOurs for a folder that others prepared.
    """
    if _make_private_folder(home):
        say(f"Made the home folder {home}")
    lock = await _locked(home)
    try:
        if end_run(home):
            say("Ended the processes that an earlier run had left")
        run = Run(up=process_named("up", os.getpid()))
        write_run(home, run)
        guard = await _guard(home, lock)
        keeping = asyncio.create_task(_keep(guard, home, lock))
        await asyncio.sleep(0)  # a task that is cancelled before it began would not dismiss the guard
        supervisor = Supervisor(home, run, say)
        try:
            yield supervisor
        finally:
            await supervisor.stop()
            if supervisor.socket_folder is not None:
                remove_sockets(home, supervisor.socket_folder)
            (home / NAME).unlink(missing_ok=True)
            keeping.cancel()
            await asyncio.wait([keeping])
    finally:
        os.close(lock)


def _make_private_folder(home: Path) -> bool:
    """Make the home folder and return whether it was missing. Raises HomeUnusable, NotOurs."""
    is_new = not home.exists()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeUnusable(f"{home} can't be the home folder: {error.strerror or error}; name another by --home") from None
    must_be_ours(home, is_folder=True)
    for name in (NAME, "secrets", "operator.token", "up.lock"):
        must_be_ours(home / name)
    return is_new


async def _locked(home: Path) -> int:
    """Lock the home folder. Wait for a guard that still holds the lock, but not for an `up`. Raises HomeInUse."""
    lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + GUARD_NEEDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            run = read_run(home)
            alive = run is not None and is_alive(run.up)
            if alive or time.monotonic() > deadline:
                os.close(lock)
                by = f" (process {run.up.pid})" if run and alive else ""
                raise HomeInUse(f"ballotpress already runs on {home}{by}: stop that one, or use another --home") from None
        await asyncio.sleep(0.05)


async def _guard(home: Path, lock: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.embedded.guard", str(home)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    )


async def _keep(guard: Process, home: Path, lock: int) -> None:
    """Keep a guard running; when cancelled, dismiss it."""
    try:
        while True:
            await guard.wait()
            await asyncio.sleep(0.5)
            guard = await _guard(home, lock)
    finally:
        if guard.stdin is not None and guard.returncode is None:
            with contextlib.suppress(ConnectionError):
                guard.stdin.write(GOODBYE)
            guard.stdin.close()
        await guard.wait()


def keep_keys(home: Path) -> dict[str, str]:
    """Return the keys of this home folder; make them and the operator's token on the first start. Raises KeysMissing."""
    file = home / "secrets"
    kept = dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}
    if not kept and (home / "postgres").exists():
        raise KeysMissing(f"{file} is missing, and without it the data in {home} cannot be read: bring it back")
    keys = {
        "BALLOTPRESS_SECRET_KEYS": secrets.token_urlsafe(48),
        "BALLOTPRESS_VAULT_KEYS": base64.b64encode(secrets.token_bytes(32)).decode(),
        "BALLOTPRESS_LOG_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        **kept,
    }
    if keys != kept:
        write_private(file, "".join(f"{name}={value}\n" for name, value in keys.items()))
    if not (home / "operator.token").exists():
        write_private(home / "operator.token", secrets.token_urlsafe(32) + "\n")
    return keys


def keep_key(home: Path, name: str, value: str) -> bool:
    """Put a key among those of this home folder, in place of the former; return False where it keeps no such key."""
    file = home / "secrets"
    kept = dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}
    if name not in kept:
        return False
    write_private(file, "".join(f"{known}={key}\n" for known, key in {**kept, name: value}.items()))
    return True
