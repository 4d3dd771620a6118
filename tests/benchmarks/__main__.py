"""`make bench`: measure what is promised and print each goal's ratio. Names of groups as arguments measure those alone."""

import sys
from importlib import import_module

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
