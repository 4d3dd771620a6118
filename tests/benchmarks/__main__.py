"""`make bench`: measure what is promised and print each goal's ratio. Names of groups as arguments measure those alone.

SIGTERM and Ctrl-C end it and every server that it started.
"""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from tests.benchmarks.table import Row, machine, render
from tests.support.processes import kill_all, wait_for

GROUPS = (
    "append", "http", "lag", "pages", "caching", "crawl", "finding", "replay", "emails", "newsletter", "integrity", "proof",
    "tree", "replicas", "umadb", "growth", "archive", "processes",
)  # fmt: skip
AGAIN_SECONDS = 3.0


def main(names: list[str]) -> int:
    """Measure and print; 1 if a goal was missed."""
    if unknown := set(names) - set(GROUPS):
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or GROUPS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += import_module(f"tests.benchmarks.{name}").measure()
    print(f"On {machine()}:\n\n{render(rows)}")
    return 0 if all(row.holds for row in rows) else 1


@contextmanager
def own_folder() -> Iterator[None]:
    """Make every temporary folder in one of the run's own; kill what still runs on it at the end, and remove it.

    A signal can come between a server's start and the line that would end it.
    """
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    folder.chmod(0o755)  # PostgreSQL is another user's when root measures
    tempfile.tempdir = str(folder)
    try:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, end)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        kill_all(folder)
        wait_for(lambda: shutil.rmtree(folder, ignore_errors=True) or not folder.exists())


def end(number: int, _: FrameType | None) -> None:
    """Raise SystemExit, so that every server's context ends it; another signal does not cut that short.

    It is raised again after a while: in a destructor, or in a callback of C code, Python drops it.
    """
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(128 + number))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
    sys.exit(128 + number)


if __name__ == "__main__":
    with own_folder():
        status = main(sys.argv[1:])
    sys.exit(status)
