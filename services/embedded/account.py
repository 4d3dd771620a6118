"""The system user that the private servers run as when we are root, and its right to reach its files.

PostgreSQL refuses to run as root, so a system user owns the data. A folder above the data or the programs may lack the
right to pass through: that alone (`o+x`) is added, never the right to list it (`o+r`).
"""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

NAMES = ("postgres", "ballotpress")


class NoAccount(Exception):
    """There is no system user to run the servers as, and none can be made; the message says what to do."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A system user."""

    name: str
    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Return the user to run servers as: the owner of existing data, else a system user. None unless we are root.

    Raises NoAccount.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    for name in NAMES:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            continue
    return _new_account(NAMES[-1])


def _new_account(name: str) -> Account:
    command = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name)
    if command is not None:
        subprocess.run([command, *options], capture_output=True, check=False)
    try:
        return _account(pwd.getpwnam(name))  # also when another process made it meanwhile
    except KeyError:
        message = f"PostgreSQL won't run as root: create a system user named {name}, or start this as another user"
        raise NoAccount(message) from None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def own(folder: Path, account: Account | None) -> None:
    """Make a folder that only the servers' user (and root) can enter; its contents stay."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def open_ways(account: Account, targets: Iterable[Path]) -> list[Path]:
    """Let the user pass through every folder above these paths, and return the folders that had to change."""
    changed: list[Path] = []
    for target in targets:
        for folder in reversed(target.resolve().parents):
            mode = folder.stat()
            if missing := _missing_right(account, mode):
                folder.chmod(stat.S_IMODE(mode.st_mode) | missing)
                changed.append(folder)
    return changed


def _missing_right(account: Account, folder: os.stat_result) -> int:
    """Return the permission bit that the user lacks to pass through a folder; 0 when it may."""
    if folder.st_uid == account.uid:
        bit = stat.S_IXUSR
    elif folder.st_gid == account.gid:
        bit = stat.S_IXGRP
    else:
        bit = stat.S_IXOTH
    return bit & ~folder.st_mode
