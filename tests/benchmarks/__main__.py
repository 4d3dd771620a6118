"""`make bench`: measure what is promised and print each goal's ratio. Names of groups as arguments measure those alone.

SIGTERM and Ctrl-C end it and every server that it started.
"""

import signal
import sys
from importlib import import_module
from types import FrameType

from tests.benchmarks.table import Row, machine, render

GROUPS = ("append", "http", "lag", "pages", "replay", "emails", "newsletter")


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


def end(number: int, _: FrameType | None) -> None:
    """Raise SystemExit, so that every server's context ends it; another signal does not cut that short."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)
    sys.exit(main(sys.argv[1:]))
