"""What a replica takes off the primary: the CPU of the primary a read, and reads a second where there are cores for both.

`BENCH_REPLICA_READS` reads a turn and `BENCH_REPLICA_TURNS` turns of each way, in pairs. Each read asks PostgreSQL, for lists,
tallies and searches; a card or a comparison would come from the API's memory.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic

import httpx

from tests.benchmarks.client import Client
from tests.benchmarks.table import Row
from tests.benchmarks.world import SETTINGS, new_database
from tests.support import servers
from tests.support.http import wait_until_ready
from tests.support.processes import COMMAND, PATIENCE, free_port, started, wait_for
from tests.support.replicas import cluster
from tests.support.settings import UNLIMITED, environ

READS = int(os.environ.get("BENCH_REPLICA_READS", "20000"))
TURNS = int(os.environ.get("BENCH_REPLICA_TURNS", "5"))
CONNECTIONS = 16
CORES_FOR_BOTH = 6
"""A client, two APIs and two servers that are each busy."""
GOAL = 1.8
_TICK = os.sysconf("SC_CLK_TCK")


def measure(reads: int = READS, turns: int = TURNS) -> list[Row]:
    """Measure every row about replicas."""
    with cluster(**SETTINGS) as made, servers.valkey() as (valkey, _):
        dsn = asyncio.run(new_database(made.primary, "site"))
        replica = made.replicas[0].dsn("site")
        with started((*COMMAND, "projector"), environ(dsn, valkey)), _api(dsn, valkey) as at_primary:
            assert wait_for(lambda: httpx.get(f"http://127.0.0.1:{at_primary}/v1/tools?after=1000").status_code == 200)
            with _api(dsn, valkey, READ_DATABASE_URL=replica) as at_replica:
                assert wait_for(lambda: 'ballotpress_replicas{of="used"} 1.0' in _metrics(at_replica))
                _read(reads // 10, [at_primary]), _read(reads // 10, [at_replica])
                rows = [_by_cpu(made.primary_pid(), reads, turns, at_primary, at_replica)]
                if (os.cpu_count() or 1) >= CORES_FOR_BOTH:
                    rows.append(_by_rate(reads, turns, at_primary, at_replica))
                return rows


@contextmanager
def _api(dsn: str, valkey: str, **more: str) -> Iterator[int]:
    port = free_port()
    with started((*COMMAND, "api", "--port", str(port)), environ(dsn, valkey, **UNLIMITED, **more)):
        wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")
        yield port


def _metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text


def _by_cpu(primary: int, reads: int, turns: int, at_primary: int, at_replica: int) -> Row:
    """Compare the primary's CPU for the same reads. Were they shared evenly, it would do so many times as many a CPU second."""
    alone, beside = [], []
    for _ in range(turns):
        for found, port in ((alone, at_primary), (beside, at_replica)):
            before = _cpu_seconds(primary)
            _read(reads, [port])
            found.append((_cpu_seconds(primary) - before) * 1_000_000 / reads)
    factor = median(2 / (1 + b / a) for a, b in zip(alone, beside, strict=True))
    detail = f"the primary's CPU a read: {median(alone):.0f} µs, through a replica {median(beside):.1f} µs; {turns} pairs"
    return Row("reads through one replica beside the primary, by the primary's CPU", GOAL, factor, detail)


def _by_rate(reads: int, turns: int, at_primary: int, at_replica: int) -> Row:
    ratios = [_read(reads, [at_primary, at_replica]) / _read(reads, [at_primary]) for _ in range(turns)]
    return Row("reads a second of two APIs, one at a replica, against one", GOAL, median(ratios), f"{turns} pairs")


def _read(reads: int, ports: Sequence[int]) -> float:
    """Read so many times, shared evenly by these APIs; give reads a second."""
    return asyncio.run(_read_all(reads, ports))


async def _read_all(reads: int, ports: Sequence[int]) -> float:
    numbers = count()
    began = monotonic()

    async def read(port: int) -> None:
        client = Client(port)
        await client.open()
        while (n := next(numbers)) < reads:
            assert await client.ask("GET", _path(n)) == 200
        client.close()

    await asyncio.gather(*(read(ports[n % len(ports)]) for n in range(CONNECTIONS * len(ports))))
    return reads / (monotonic() - began)


def _path(n: int) -> str:
    return (
        f"/v1/tools?sort=community&limit=20&category=Category%20{n % 10}",
        f"/v1/tools/tool-{n % 1000}/tally",
        f"/v1/search?q=tool+{n % 1000}",
        "/v1/tools?sort=name&limit=20",
    )[n % 4]


def _cpu_seconds(postmaster: int) -> float:
    """Return the CPU time of a server: of its processes, and of those that have ended."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    own = sum(_ticks(postmaster)[:4])
    return (own + sum(sum(_ticks(int(child))[:2]) for child in children)) / _TICK


def _ticks(pid: int) -> list[int]:
    """Return a process's time in the programs and in the kernel, and that of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]
