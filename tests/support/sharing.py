"""How the suite is shared among workers and runs: what needs which server, what stays together, what goes first."""

from collections import Counter

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# The pages share a browser and its site. They stay together in two halves, each with one worker, lest one of them ends last.
PAGES = "tests/web/pages/"
HALVES = (f"{PAGES}test_[a-li]", f"{PAGES}test_[lin-z]")
_SECOND = f"{PAGES}test_lin"
# The longest, so that they begin first and no worker ends long after the others.
LONGEST = (
    PAGES,
    "tests/integrity/test_scan.py",
    "tests/backup/test_backup.py",
    "tests/web/test_schemathesis.py",
    "tests/process/test_survival.py",
    "tests/projections/test_histories.py",
    "tests/process/test_conformance.py",
    "tests/process/test_failover.py",
    "tests/proof/test_tampered.py",
    "tests/process/test_up.py",
    "tests/backup/test_restored_around_a_send.py",
    "tests/proof/test_joined.py",
    "tests/proof/test_other_verifiers.py",
    "tests/projections/test_ranges.py",
    "tests/web/test_edge_process.py",
    "tests/web/test_openapi.py",
    "tests/cli/test_replay",
    "tests/replicas/test_readers.py",
    "tests/observing/test_instance.py",
    "tests/projections/test_runner.py",
    "tests/mail_check/test_first_issue.py",
    "tests/archive/test_commands.py",
    "tests/cli/test_catalog_import.py",
    "tests/replicas/test_site.py",
    "tests/process/test_other_servers.py",
    "tests/integrity/test_decisions.py",
    "tests/newsletter/test_holds.py",
    "tests/newsletter/test_kill.py",
    "tests/newsletter/test_sent_marks.py",
    "tests/newsletter/test_sending.py",
    "tests/projections/test_search.py",
    "tests/newsletter/test_issues.py",
    "tests/cli/test_purge.py",
    "tests/web/test_puzzles.py",
    "tests/process/test_processes.py",
    "tests/process/test_rolling.py",
    "tests/tracing/test_away.py",
    "tests/webhooks/test_deliverer.py",
    "tests/web/test_hostile_input.py",
    "tests/integrity/test_puzzle.py",
    "tests/packaging/test_installed.py",
    "tests/newsletter/test_commands.py",
    "tests/proof/test_live.py",
)
# Fixtures behind which servers are; tests that start their own are marked where they stand.
SERVERS = {"postgres", "valkey_url"}


def scope(nodeid: str) -> str:
    """Return what a test stays together with: its half of the pages, or its file."""
    return HALVES[nodeid >= _SECOND] if nodeid.startswith(PAGES) else nodeid.split("::", 1)[0]


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """A schedule that hands workers whole files, and the pages in halves."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take a worker away, and give the test that it died of, if it did: nobody runs that again, lest all die of it."""
        units: dict[str, dict[str, bool]] = self.assigned_work[node]
        crashed = next((nodeid for unit in units.values() for nodeid, done in unit.items() if not done), None)
        for scope, unit in list(units.items()):
            units[scope] = {nodeid: False for nodeid, done in unit.items() if not done and nodeid != crashed}
            if not units[scope]:
                del units[scope]
        super().remove_node(node)
        return crashed

    def _reschedule(self, node: WorkerController) -> None:
        """Hand out files until a worker has two tests: it begins none before it knows the next, or that there is no other."""
        super()._reschedule(node)
        if not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._reschedule(node)


def tell_apart(items: list[pytest.Item]) -> None:
    """Raise UsageError if several tests have one id: xdist would run a single one of them."""
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
    if needed or item.nodeid.startswith(PAGES) or item.get_closest_marker("postgres"):
        item.add_marker("server")
