"""Several API processes behind one nginx: votes a second, and what a vote costs each process, against one API behind it.

`BENCH_PROCESSES` names how many (1,2,4), `BENCH_PROCESSES_SECONDS` and `BENCH_PROCESSES_TURNS` how long and how often each is
measured. On a machine with fewer cores than processes only the costs say something: that none grows with their number.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import sleep

import asyncpg
from redis import Redis

from tests.benchmarks.accounting import Account
from tests.benchmarks.http import Api, Voting, tokens
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres, new_database
from tests.support import nginx, servers
from tests.support.http import wait_until_ready
from tests.support.processes import COMMAND, Process, free_port, started
from tests.support.settings import UNLIMITED, environ

COUNTS = [int(word) for word in os.environ.get("BENCH_PROCESSES", "1,2,4").split(",")]
SECONDS = float(os.environ.get("BENCH_PROCESSES_SECONDS", "5"))
TURNS = int(os.environ.get("BENCH_PROCESSES_TURNS", "4"))
REST_SECONDS = 1.5  # the views have followed by then
GOAL = 1.15
Measured = tuple[float, Mapping[str, float]]
"""Votes a second, and microseconds of a vote by process."""


class _Behind:
    """So many APIs behind one nginx."""

    def __init__(self, count: int, front: Api, voting: Voting, account: Account, dsn: str) -> None:
        self.count = count
        self.found: list[Measured] = []
        self._front = front
        self._voting = voting
        self._account = account
        self._dsn = dsn

    def turn(self) -> None:
        """Vote for a while."""
        first, before = asyncio.run(_head(self._dsn)), self._account.costs()
        self._voting.api = self._front  # all ways share it: no vote comes twice
        rate = self._voting()
        sleep(REST_SECONDS)
        spent, votes = self._account.since(before), asyncio.run(_head(self._dsn)) - first
        self.found.append((rate, {name: 1e6 * seconds / votes for name, seconds in spent.items()}))

    def cost(self, run: int) -> float:
        """Return what a vote has cost all processes, in microseconds."""
        return sum(self.found[run][1].values())

    def said(self) -> str:
        """Return the medians in words."""
        each = {name: median(costs[name] for _, costs in self.found) for name in self.found[0][1]}
        apis = sum(cost for name, cost in each.items() if name.startswith("API"))
        others = ", ".join(f"{name} {cost:.0f}" for name, cost in each.items() if not name.startswith("API"))
        return f"{self.count}: {median(rate for rate, _ in self.found):,.0f} votes/s; µs a vote: APIs {apis:.0f}, {others}"


def measure() -> list[Row]:
    """Measure every row about several processes."""
    with durable_postgres() as server, servers.valkey() as (valkey, _), ExitStack() as stack:
        dsn = asyncio.run(new_database(server, "site"))
        env = environ(dsn, valkey, **UNLIMITED, BALLOTPRESS_TRUSTED_PROXIES="127.0.0.1")
        projector = stack.enter_context(started((*COMMAND, "projector"), env))
        apis = [stack.enter_context(_api(env)) for _ in range(max(COUNTS))]
        tokens(server.folder, 20_000)
        shared = {"projector": projector.pid, "Valkey": Redis.from_url(valkey).info("server")["process_id"]}
        ways: list[_Behind] = []
        voting: Voting | None = None
        for count in COUNTS:
            folder = server.folder / f"nginx-{count}"
            folder.mkdir()
            front, master = stack.enter_context(_nginx(folder, [port for port, _ in apis[:count]]))
            api = Api(front, apis[0][1], server.folder, scheme="https")
            voting = voting or Voting(api, SECONDS, "/v1/tools/tool-%d/vote")
            processes = {**shared, "nginx": master, **{f"API {n}": process.pid for n, (_, process) in enumerate(apis[:count])}}
            ways.append(_Behind(count, api, voting, Account(processes, server.folder / "data"), dsn))
        for way in [*ways, *(ways * TURNS)]:  # the first turn of each warms
            way.turn()
    return [_row(ways[0], way) for way in ways[1:]]


def _row(one: _Behind, many: _Behind) -> Row:
    ratios = [many.cost(run) / one.cost(run) for run in range(1, TURNS + 1)]
    name = f"CPU a vote of all processes, {many.count} APIs behind one nginx, against {one.count}"
    return Row(name, GOAL, median(ratios), f"{one.said()}; {many.said()}; {TURNS} pairs", at_least=False)


@contextmanager
def _api(env: Mapping[str, str]) -> Iterator[tuple[int, Process]]:
    port = free_port()
    with started((*COMMAND, "api", "--port", str(port)), env) as process:
        wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")
        yield port, process


@contextmanager
def _nginx(folder: Path, ports: list[int]) -> Iterator[tuple[int, int]]:
    """Run nginx before the APIs; give its port, and the process that does its work."""
    with nginx.before(folder, ports[0], nginx.several(ports)) as port:
        master = int((folder / "pid").read_text())
        yield port, int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])


async def _head(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    position: int = await connection.fetchval("select position from log.head")
    await connection.close()
    return position
