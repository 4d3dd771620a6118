"""A process beside `ballotpress up` that ends everything `up` had running, if `up` is killed.

It reads a pipe whose other end only `up` holds: `bye` means that all was stopped in order, an end of file without it
that `up` was killed. It shares the lock on the home folder, so that the next start waits until it has finished.
"""

import contextlib
import re
import shutil
import signal
import sys
from pathlib import Path

from services.embedded.runfile import NAME, end_all, read_run

GOODBYE = b"bye"
PREFIX = "ballotpress-"
TEMPORARY = Path("/tmp")  # noqa: S108 - what is made there is made by mkdtemp, and its path is short
MADE = re.compile(PREFIX + "[a-z0-9_]{8}")
SECONDS = 4.0


def end_run(home: Path, seconds: float = SECONDS) -> bool:
    """End the processes in `run.json`, remove it and its sockets' folder; return whether there was such a file."""
    run = read_run(home)
    if run is None:
        return False
    end_all(run.processes, seconds)
    if run.socket_folder:
        remove_sockets(home, Path(run.socket_folder))
    (home / NAME).unlink(missing_ok=True)
    return True


def remove_sockets(home: Path, folder: Path) -> None:
    """Remove a folder of sockets: that in the home folder, or one that `mkdtemp` made for it; whatever else is named stays."""
    if folder == home / "sockets" or (folder.parent == TEMPORARY and MADE.fullmatch(folder.name) and _is_ours(home, folder)):
        shutil.rmtree(folder, ignore_errors=True)


def _is_ours(home: Path, folder: Path) -> bool:
    """Check whether the owner of the home folder, or of the servers' data in it, owns a folder."""
    owners = set()
    for one in (home, home / "postgres", home / "valkey"):
        with contextlib.suppress(FileNotFoundError):
            owners.add(one.lstat().st_uid)
    return folder.lstat().st_uid in owners if folder.is_dir() and not folder.is_symlink() else False


def main() -> None:
    """Wait for the pipe's end, ignoring the signals that stop `up`."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.stdin.buffer.read() != GOODBYE:
        end_run(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
