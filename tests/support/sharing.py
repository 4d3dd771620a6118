"""How the suite is shared among workers and runs: what needs which server, what stays together, what goes first."""

from collections import Counter

import pytest
from _pytest.nodeid import coerce_node_id
from xdist.scheduler import LoadScopeScheduling

# Folders and files that share one costly thing (a browser with its site) and stay with one worker.
TOGETHER = "tests/web/pages/"
# The longest, so that they begin first and no worker ends long after the others.
LONGEST = (
    TOGETHER,
    "tests/process/test_survival.py",
    "tests/process/test_up.py",
    "tests/process/test_conformance.py",
    "tests/cli/test_replay.py",
    "tests/web/test_edge_process.py",
    "tests/cli/test_replay_meanwhile.py",
    "tests/log/test_machine.py",
    "tests/process/test_other_servers.py",
    "tests/process/test_processes.py",
    "tests/projections/test_histories.py",
    "tests/newsletter/test_commands.py",
    "tests/newsletter/test_kill.py",
)
# Fixtures behind which servers are; tests that start their own are marked where they stand.
SERVERS = {"postgres", "valkey_url"}


def scope(nodeid: str) -> str:
    """Return what a test stays together with: its folder or its file."""
    return TOGETHER if nodeid.startswith(TOGETHER) else nodeid.split("::", 1)[0]


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """A schedule that hands workers whole files, and the pages as one."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def tell_apart(items: list[pytest.Item]) -> None:
    """Give each test the id that its name makes; of those that share one (schemathesis's do), xdist would run a single one.

    Raises UsageError if two share one even so.
    """
    for item in items:
        if not item.nodeid.endswith(item.name):
            item._id = coerce_node_id(f"{item.nodeid.rpartition('::')[0]}::{item.name}")
    if twice := [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]:
        raise pytest.UsageError(f"of several tests with one id: {', '.join(twice)}")


def rank(item: pytest.Item) -> int:
    """Return a test's place: the longest files first, the others in their order."""
    return next((n for n, start in enumerate(LONGEST) if item.nodeid.startswith(start)), len(LONGEST))


def mark(item: pytest.Item) -> None:
    """Mark a test by the servers behind its fixtures."""
    needed = SERVERS & set(getattr(item, "fixturenames", ()))
    if "postgres" in needed:
        item.add_marker("postgres")
    if needed or item.nodeid.startswith(TOGETHER) or item.get_closest_marker("postgres"):
        item.add_marker("server")
