"""What a longer log costs: the same work on a log three times as long, an event.

`BALLOTPRESS_BENCH_GROWN` and `BALLOTPRESS_BENCH_BASE` are the events of the two logs (30 and 10 million),
`BALLOTPRESS_BENCH_SECONDS` and `BALLOTPRESS_BENCH_PAIRS` how long and how often votes are appended to each in turn (4 and 5).
"""

import os
from collections.abc import Awaitable, Callable
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
from tests.benchmarks.append import voting
from tests.benchmarks.replay import rebuild
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres
from tests.support import servers
from tests.support.runners import catch_up_all
from tests.support.year import fill_year

TOOLS = 1_000
ASKED = 40
RUNS = 3

Measured = dict[str, float]
"""Seconds by what was done."""

# The log with its indexes, and every view's tables, in bytes.
READ_BYTES = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (c.oid in (select relid from pg_partition_tree('log.events')) or n.nspname = any($1::text[]))
"""


def measure() -> list[Row]:
    """Measure every row about a log that grows."""
    sizes = [int(os.environ.get(f"BALLOTPRESS_BENCH_{name}", events)) for name, events in _SIZES.items()]
    seconds, runs = float(os.environ.get("BALLOTPRESS_BENCH_SECONDS", 4)), int(os.environ.get("BALLOTPRESS_BENCH_PAIRS", 5))
    with durable_postgres() as server:
        grown, base = (uvloop.run(_year(server, f"of_{n}", events)) for n, events in enumerate(sizes))
        rows = [uvloop.run(_bytes(base, sizes[1]))]
        taken = [uvloop.run(_taken(dsn)) for dsn in (grown, base)]
        rows += [_row(name, (taken[0][name], taken[1][name]), (sizes[0], sizes[1])) for name in taken[0]]
        rate, detail = pairs(voting(base, 64, seconds, TOOLS), voting(grown, 64, seconds, TOOLS), runs)
        what = f"append, 64 callers: time of an event at {sizes[0]:,} events against {sizes[1]:,}"
        return [*rows, Row(what, 1.1, rate, f"the shorter log's rate against the longer's: {detail}", at_least=False)]


_SIZES = {"GROWN": 30_000_000, "BASE": 10_000_000}


async def _year(server: servers.Postgres, name: str, events: int) -> str:
    """Make a log of so many events, packed as the worker does, and its views; give its DSN."""
    await servers.execute(server.dsn(), f"create database {name}")
    dsn = server.dsn(name)
    await migrate(dsn)
    await fill_year(dsn, events, TOOLS)
    connection = await asyncpg.connect(dsn)
    await parts.keep(connection)
    await connection.close()
    await catch_up_all(dsn)
    return dsn


async def _bytes(dsn: str, events: int) -> Row:
    connection = await asyncpg.connect(dsn)
    log: float = await connection.fetchval(READ_BYTES, [])
    whole: float = await connection.fetchval(READ_BYTES, [projection.schema for projection in PROJECTIONS])
    await connection.close()
    what = f"bytes an event, log and views, at {events:,} events"
    return Row(what, 300, whole / events, f"of which the log {log / events:.0f}", "bytes", at_least=False)


async def _taken(dsn: str) -> Measured:
    """Rebuild and verify everything, and ask for the past: the median of some runs of each, in seconds."""
    found: list[Measured] = []
    for _ in range(RUNS):
        began = monotonic()
        for projection in PROJECTIONS:
            await rebuild(dsn, projection)
        rebuilt = monotonic() - began
        began = monotonic()
        for projection in PROJECTIONS:
            assert not (await verify(dsn, projection, REGISTRY, SOURCES)).tables, projection.name
        found.append({"rebuild of every view": rebuilt, "verify of everything": monotonic() - began, **await _past(dsn)})
    return {name: median(one[name] for one in found) for name in found[0]}


async def _past(dsn: str) -> Measured:
    """Ask for tallies of a time, for years of them, and for how they came about, of tools of many votes and of few."""
    now = datetime.now(UTC)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        tools = [
            row["tool"] for row in await pool.fetch("select data->>'tool' as tool from log.events where type = 'ToolAdded'")
        ]
        asked = [(tools[n * n % len(tools)], now - timedelta(days=n * 37 % 364, seconds=n * 997)) for n in range(ASKED)]
        year = now - timedelta(days=365)
        return {
            "a tally as of a time": await _median(lambda n: hours.as_of(pool, *asked[n], corrected=False)),
            "history of a tally, a year by day": await _median(
                lambda n: hours.changes(pool, asked[n][0], year, now, "day", corrected=False)
            ),
            "explain of a tally": await _median(lambda n: _explain(pool, asked[n][0])),
        }


async def _explain(pool: "asyncpg.Pool[Any]", tool: str) -> None:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
        position = await served.position_of(connection, None)  # type: ignore[arg-type]
        dropped = await served.dropped_of(connection, "cards")  # type: ignore[arg-type]
        await history.read_changes(connection, tool, position, dropped)  # type: ignore[arg-type]
        await history.read_history(connection, tool, position, dropped)  # type: ignore[arg-type]


async def _median(ask: Callable[[int], Awaitable[Any]]) -> float:
    """Give the median of the seconds that questions take."""
    taken = []
    for n in range(ASKED):
        began = monotonic()
        await ask(n)
        taken.append(monotonic() - began)
    return median(taken)


def _row(name: str, taken: tuple[float, float], events: tuple[int, int]) -> Row:
    """Compare what a piece of work takes, divided by the events of its log."""
    plain, more = taken[0] / taken[1], events[0] / events[1]
    each = " against ".join(f"{seconds:.4g} s" for seconds in taken)
    detail = f"{each}; {plain:.2f} × for {more:.3g} × the events"
    return Row(f"{name}: time an event, {events[0]:,} events against {events[1]:,}", 1.1, plain / more, detail, at_least=False)
