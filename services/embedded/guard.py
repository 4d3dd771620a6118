"""Waits beside `ballotpress up` and, should that die without a word, ends whatever it had running.

It reads a pipe whose other end only `up` holds: `bye` means that all was stopped in order, the bare end of the file
that `up` is gone. It shares the lock on the home folder, so that a next start waits until it has finished.
"""

import shutil
import signal
import sys
from pathlib import Path

from services.embedded.runfile import NAME, end_all, read_run

GOODBYE = b"bye"
SECONDS = 4.0


def end_run(home: Path, seconds: float = SECONDS) -> bool:
    """End what `run.json` still names, remove the file and the folder of its sockets; tell whether there was one."""
    run = read_run(home)
    if run is None:
        return False
    end_all(run.processes, seconds)
    if run.socket_folder:
        shutil.rmtree(run.socket_folder, ignore_errors=True)
    (home / NAME).unlink(missing_ok=True)
    return True


def main() -> None:
    """Wait for the pipe's end, deaf to the signals that stop `up`."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.stdin.buffer.read() != GOODBYE:
        end_run(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
