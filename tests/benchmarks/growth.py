"""What a longer log costs: the same work on a log three times as long, an event.

`BALLOTPRESS_BENCH_GROWN` and `BALLOTPRESS_BENCH_BASE` are the events of the two logs (30 and 10 million);
a part of either holds as many as the shorter.
`BALLOTPRESS_BENCH_SECONDS` and `BALLOTPRESS_BENCH_PAIRS` say how long and how often votes are appended to each in turn (4, 5),
`BALLOTPRESS_BENCH_RUNS` how often all else is done (1). Ratios are of CPU seconds, ours and the server's, so that others on the
machine count for little; what the clock said stands beside.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from time import monotonic
from typing import Any

import asyncpg
import uvloop

from events.log import parts
from events.registry import REGISTRY
from projections import history, hours, served
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.migrate import migrate
from tests.benchmarks.accounting import Account
from tests.benchmarks.append import voting
from tests.benchmarks.replay import rebuild
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres
from tests.support import servers
from tests.support.runners import catch_up_all
from tests.support.year import fill_year

TOOLS = 1_000
ASKED = 40
TIMES = 10
"""So often each of the questions is asked: the kernel counts CPU in hundredths of a second."""

Measured = dict[str, tuple[float, float]]
"""Seconds of CPU and of the clock by what was done."""

# The log with its indexes, and every view's tables, in bytes.
READ_BYTES = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (c.oid in (select relid from pg_partition_tree('log.events')) or n.nspname = any($1::text[]))
"""


def measure() -> list[Row]:
    """Measure every row about a log that grows."""
    sizes = [_number(name, events) for name, events in _SIZES.items()]
    seconds, turns = _number("SECONDS", 4), _number("PAIRS", 5)
    with durable_postgres() as server:
        cost = Account({"ours": os.getpid()}, server.folder / "data")
        grown, base = (uvloop.run(_year(server, f"of_{n}", events, sizes[1])) for n, events in enumerate(sizes))
        runs = [[uvloop.run(_taken(cost, dsn)) for dsn in (grown, base)] for _ in range(_number("RUNS", 1))]
        rows = [uvloop.run(bytes_an_event(base, sizes[1]))]
        rows += [_row(name, runs, (sizes[0], sizes[1])) for name in runs[0][0]]
        rate, detail = pairs(voting(base, 64, seconds, TOOLS), voting(grown, 64, seconds, TOOLS), turns)
        what = f"append, 64 callers: time of an event at {sizes[0]:,} events against {sizes[1]:,}"
        return [*rows, Row(what, 1.1, rate, f"the shorter log's rate against the longer's: {detail}", at_least=False)]


def _number(name: str, default: int) -> int:
    return int(os.environ.get(f"BALLOTPRESS_BENCH_{name}", default))


_SIZES = {"GROWN": 30_000_000, "BASE": 10_000_000}


async def _year(server: servers.Postgres, name: str, events: int, part: int) -> str:
    """Make a log of so many events in parts of a size, and its views; give its DSN."""
    await servers.execute(server.dsn(), f"create database {name}")
    dsn = server.dsn(name)
    await migrate(dsn, part)
    await fill_year(dsn, events, TOOLS)
    await catch_up_all(dsn)
    await servers.execute(dsn, "vacuum analyze")
    return dsn


async def bytes_an_event(dsn: str, events: int) -> Row:
    """Give the bytes of the log, packed as the worker does, and of every view, divided by the log's events."""
    connection = await asyncpg.connect(dsn)
    await parts.keep(connection)
    log: float = await connection.fetchval(READ_BYTES, [])
    whole: float = await connection.fetchval(READ_BYTES, [projection.schema for projection in PROJECTIONS])
    await connection.close()
    what = f"bytes an event, log and views, at {events:,} events"
    return Row(what, 300, whole / events, f"of which the log {log / events:.0f}", "bytes", at_least=False)


async def _taken(cost: Account, dsn: str) -> Measured:
    """Rebuild and verify everything, and ask for the past."""
    taken: Measured = {}
    with _counted(cost, taken, "rebuild of every view"):
        for projection in PROJECTIONS:
            await rebuild(dsn, projection)
    with _counted(cost, taken, "verify of everything"):
        for projection in PROJECTIONS:
            assert not (await verify(dsn, projection, REGISTRY, SOURCES)).tables, projection.name
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        for name, ask in (await _questions(pool)).items():
            with _counted(cost, taken, name):
                for n in range(ASKED * TIMES):
                    await ask(n % ASKED)
    return taken


@contextmanager
def _counted(cost: Account, taken: Measured, name: str) -> Iterator[None]:
    """Take down the seconds that something takes: of CPU, and of the clock."""
    before, began = cost.costs(), monotonic()
    yield
    taken[name] = (sum(cost.since(before).values()), monotonic() - began)


async def _questions(pool: "asyncpg.Pool[Any]") -> dict[str, Callable[[int], Awaitable[Any]]]:
    """Return questions about tools of many votes and of few: tallies of a time, years of them, how they came about."""
    now = datetime.now(UTC)
    tools = [row["tool"] for row in await pool.fetch("select data->>'tool' as tool from log.events where type = 'ToolAdded'")]
    asked = [(tools[n * n % len(tools)], now - timedelta(days=n * 37 % 364, seconds=n * 997)) for n in range(ASKED)]
    year = now - timedelta(days=365)
    return {
        "a tally as of a time": lambda n: hours.as_of(pool, *asked[n], corrected=False),
        "history of a tally, a year by day": lambda n: hours.changes(pool, asked[n][0], year, now, "day", corrected=False),
        "explain of a tally": lambda n: _explain(pool, asked[n][0]),
    }


async def _explain(pool: "asyncpg.Pool[Any]", tool: str) -> None:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        position = await served.position_of(connection, None)  # type: ignore[arg-type]
        dropped = await served.dropped_of(connection, "cards")  # type: ignore[arg-type]
        await history.read_changes(connection, tool, position, dropped)  # type: ignore[arg-type]
        await history.read_history(connection, tool, position, dropped)  # type: ignore[arg-type]


def _row(name: str, runs: list[list[Measured]], events: tuple[int, int]) -> Row:
    """Compare what a piece of work takes, divided by the events of its log: the median of the runs."""
    plain = [median(grown[name][of] / base[name][of] for grown, base in runs) for of in (0, 1)]
    more = events[0] / events[1]
    seconds = " against ".join(f"{median(side[name][0] for side in sides):.4g} s" for sides in zip(*runs, strict=True))
    detail = f"{seconds} of CPU; {plain[0]:.2f} × for {more:.3g} × the events; by the clock {plain[1]:.2f} ×"
    return Row(
        f"{name}: CPU an event, {events[0]:,} events against {events[1]:,}", 1.1, plain[0] / more, detail, at_least=False
    )
