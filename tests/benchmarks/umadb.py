"""How fast votes are appended beside UmaDB, an event store of its own kind: each vote on a condition, on the same disk.

UmaDB's wheel has its server and a client: `pip install umadb==0.7.8`, here or in a venv that BALLOTPRESS_BENCH_UMADB names. It
is asked for one conditional append a vote, that no event has the ballot's tag or disqualifies the voter, and no read before.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic

import msgspec
import uvloop

from events.commands.ballots import CastVote
from tests.benchmarks.table import Row
from tests.benchmarks.world import committer, durable_postgres, new_database, new_id
from tests.support.processes import free_port, started, wait_for

SECONDS = float(os.environ.get("BALLOTPRESS_BENCH_SECONDS", "4"))
PAIRS = int(os.environ.get("BALLOTPRESS_BENCH_PAIRS", "7"))
VERSION = "0.7.8"
TOOLS = 1000

# Callers are threads, which its client leaves to run beside each other; with one connection for all of them, or one for each.
CLIENT = """
import json, sys, threading, uuid
from time import monotonic
import umadb

url, callers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

def vote(client):
    voter, tool = uuid.uuid4().hex[:22], uuid.uuid4().hex[:22]
    ballot, person = f"ballot:{voter}:{tool}", f"voter:{voter}"
    data = json.dumps({"voter": voter, "tool": tool, "choice": "ship"}).encode()
    if_none = umadb.Query(items=[
        umadb.QueryItem(tags=[ballot]), umadb.QueryItem(types=["VoterDisqualified"], tags=[person])])
    event = umadb.Event(event_type="VoteCast", data=data, tags=[ballot, person])
    began = monotonic()
    client.append([event], condition=umadb.AppendCondition(if_none))
    return monotonic() - began

def measure(clients):
    took = []
    end = monotonic() + seconds
    def caller(client):
        while monotonic() < end:
            took.append(vote(client))
    threads = [threading.Thread(target=caller, args=(clients[n % len(clients)],)) for n in range(callers)]
    began = monotonic()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return len(took) / (monotonic() - began), sorted(took)[len(took) // 2]

vote(umadb.Client(url))
found = [measure([umadb.Client(url) for _ in range(n)]) for n in {1, callers}]
print(json.dumps(max(found)))
"""


class Pace(msgspec.Struct, frozen=True, array_like=True):
    """How fast votes went: votes a second, and the median of what one took, in seconds."""

    rate: float
    took: float


def measure() -> list[Row]:
    """Measure every row beside UmaDB; none if it isn't installed."""
    python = Path(os.environ.get("BALLOTPRESS_BENCH_UMADB", sys.prefix)) / "bin" / "python"
    if subprocess.run((python, "-c", "import umadb"), capture_output=True).returncode != 0:
        print(f"umadb is left out: it isn't installed (pip install umadb=={VERSION})", file=sys.stderr)
        return []
    with durable_postgres() as server, _umadb(python) as url:
        dsn = asyncio.run(new_database(server, "votes", TOOLS))
        return [_row(dsn, _theirs(python, url), callers, goal) for callers, goal in ((1, 1.0), (64, 4.0), (256, 4.0))]


def _row(dsn: str, theirs: Callable[[int], Pace], callers: int, goal: float) -> Row:
    """Measure both in turn; a lone caller is asked how long a vote takes, many are asked how many they get done."""
    runs = [(uvloop.run(_ours(dsn, callers)), theirs(callers)) for _ in range(PAIRS)]
    ratios = [b.took / a.took if callers == 1 else a.rate / b.rate for a, b in runs]
    ours, its = ([run[n] for run in runs] for n in (0, 1))
    detail = " against ".join(
        f"{median(pace.rate for pace in side):,.0f}/s, p50 {median(pace.took for pace in side) * 1000:.2f} ms"
        for side in (ours, its)
    )
    spread = f"ratios {min(ratios):.2f}–{max(ratios):.2f} in {PAIRS} pairs"
    measured = "p50 of a lone caller's vote" if callers == 1 else f"votes appended, {callers} callers"
    return Row(f"{measured}, against UmaDB's conditional append", goal, median(ratios), f"{detail}; {spread}")


async def _ours(dsn: str, callers: int) -> Pace:
    took: list[float] = []
    async with committer(dsn) as running:
        await running.submit(CastVote(new_id(), "tool-0", "ship"))
        end = monotonic() + SECONDS

        async def caller(number: int) -> None:
            while (began := monotonic()) < end:
                await running.submit(CastVote(new_id(), f"tool-{(len(took) + number) * 7 % TOOLS}", "ship"))
                took.append(monotonic() - began)

        began = monotonic()
        await asyncio.gather(*(caller(number) for number in range(callers)))
        return Pace(len(took) / (monotonic() - began), median(took))


def _theirs(python: Path, url: str) -> Callable[[int], Pace]:
    def run(callers: int) -> Pace:
        words = (python, "-c", CLIENT, url, str(callers), str(SECONDS / 2))  # it is measured twice, and its better half counts
        return msgspec.json.decode(subprocess.run(words, check=True, capture_output=True).stdout, type=Pace)

    return run


@contextmanager
def _umadb(python: Path) -> Iterator[str]:
    """Run UmaDB's server as it comes, with its file beside ours."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bp-umadb-") as folder:
        listening = ("--listen", f"127.0.0.1:{port}", "--db-path", folder)
        with started((str(python.with_name("umadb")), *listening), {**os.environ}) as process:
            assert wait_for(lambda: (Path(folder) / "uma.db").exists() and process.poll() is None)
            yield f"http://127.0.0.1:{port}"
