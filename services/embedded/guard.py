"""A process beside `ballotpress up` that ends everything `up` had running, if `up` is killed.

It reads a pipe whose other end only `up` holds: `bye` means that all was stopped in order, an end of file without it
that `up` was killed. It shares the lock on the home folder, so that the next start waits until it has finished.
"""

import shutil
import signal
import sys
from pathlib import Path

from services.embedded.runfile import NAME, end_all, read_run

GOODBYE = b"bye"
SECONDS = 4.0


def end_run(home: Path, seconds: float = SECONDS) -> bool:
    """End the processes in `run.json`, remove it and its sockets' folder; return whether there was such a file."""
    run = read_run(home)
    if run is None:
        return False
    end_all(run.processes, seconds)
    if run.socket_folder:
        shutil.rmtree(run.socket_folder, ignore_errors=True)
    (home / NAME).unlink(missing_ok=True)
    return True


def main() -> None:
    """Wait for the pipe's end, ignoring the signals that stop `up`."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if sys.stdin.buffer.read() != GOODBYE:
        end_run(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
