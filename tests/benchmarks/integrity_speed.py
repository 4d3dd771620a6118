"""How fast the view of the detector is: while votes come, and rebuilt beside that of hours."""

import os
from time import monotonic

import asyncpg
import uvloop

from events.registry import REGISTRY
from projections.engine.projection import Projection, connect
from projections.engine.runner import advance
from projections.registry import PROJECTIONS
from services.integrity.scan import scan
from services.migrate import migrate
from tests.benchmarks.replay import TOOLS, rebuild
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres
from tests.support import servers
from tests.support.runners import catch_up
from tests.support.year import fill_year

WINDOW = 400
"""Events, as many as come at 5,000 a second between two windows."""
LAST = 100_000
HOURS, INTEGRITY = (next(p for p in PROJECTIONS if p.name == name) for name in ("hours", "integrity"))


def speeds() -> list[Row]:
    """Measure the view's speeds; `BALLOTPRESS_BENCH_EVENTS` makes the log smaller than 10 million."""
    events = int(os.environ.get("BALLOTPRESS_BENCH_EVENTS", "10_000_000"))
    with durable_postgres() as server:
        return uvloop.run(_speeds(server, events))


async def _speeds(server: servers.Postgres, events: int) -> list[Row]:
    await servers.execute(server.dsn(), "create database year")
    dsn = server.dsn("year")
    await migrate(dsn)
    await fill_year(dsn, events, TOOLS)
    for projection in PROJECTIONS:
        if projection is not INTEGRITY:
            await catch_up(dsn, projection, (250_000,))
    live = await _live(dsn, min(LAST, events // 2))
    ratio, said = await _rebuilds(dsn)
    seconds, found = await _scanned(dsn)
    return [
        Row("the live step of the detector's view, on one core", 5_000, live, f"windows of {WINDOW} events", "votes/s"),
        Row(f"rebuilding it at {events:,} events, against hours", 1.5, ratio, said, at_least=False),
        Row("a scan of the last ten minutes", 60, seconds, found, "s", at_least=False),
    ]


async def _live(dsn: str, last: int) -> float:
    """Fold all but the last events in large windows, and those in small ones; give votes a second."""
    connection = await connect(dsn, INTEGRITY.schema, patience=600)
    head = await connection.fetchval("select position from log.head")
    start = 0
    while start < head - last:
        start = (await advance(connection, INTEGRITY, REGISTRY, 250_000, head - last)).end or start
    votes = await connection.fetchval("select count(*) from log.events where type = 'VoteCast' and position > $1", start)
    await connection.execute("vacuum analyze integrity_2.cells")
    await connection.close()
    began = monotonic()
    await catch_up(dsn, INTEGRITY, (WINDOW,))
    return votes / (monotonic() - began)


async def _rebuilds(dsn: str) -> tuple[float, str]:
    """Rebuild both views three times in turn; give the ratio of the fastest."""
    seconds: dict[Projection, list[float]] = {HOURS: [], INTEGRITY: []}
    for _ in range(3):
        for projection, taken in seconds.items():
            taken.append((await rebuild(dsn, projection))[0])
    ours, theirs = min(seconds[INTEGRITY]), min(seconds[HOURS])
    return ours / theirs, f"{ours:.1f} s against {theirs:.1f} s"


async def _scanned(dsn: str) -> tuple[float, str]:
    """Scan the log's last ten minutes, the ticks before having been judged."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "update integrity.scans set scanned_to = date_bin('10 minutes', recorded_at - interval '20 minutes', '2000-01-01+00')"
        " from log.head"
    )
    await connection.close()
    began = monotonic()
    done = await scan(dsn, 0.01)
    return monotonic() - began, f"{done.changed if done else 0} cohorts"
