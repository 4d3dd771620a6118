"""The tree over the public log: what it costs to make anew, to keep up, and to store."""

import asyncio
import os
from contextlib import suppress
from statistics import median
from time import monotonic

import asyncpg
import uvloop

from projections.registry import PROJECTIONS, SHOWN
from projections.runner import follow_log
from services.clock import now
from services.migrate import migrate
from tests.benchmarks import by_hand
from tests.benchmarks.append import vote_rate
from tests.benchmarks.replay import rebuild
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres, new_database
from tests.support import servers
from tests.support.runners import catch_up_all
from tests.support.year import fill_year

TOOLS = 5_000
PROOF = next(projection for projection in PROJECTIONS if projection.name == "proof")
LEAVES = next(statement for name, statement in by_hand.statements() if name == "proof")
PAIRS = 3
CALLERS = 256

SIZE = """
select pg_total_relation_size('proof_1.tiles')::float8 / position from proof_1.checkpoint
"""


def measure(events: int | None = None) -> list[Row]:
    """Measure on a log of a million events, or `BALLOTPRESS_BENCH_EVENTS`."""
    events = events or int(os.environ.get("BALLOTPRESS_BENCH_EVENTS", "1_000_000"))
    with durable_postgres() as server:
        return [*uvloop.run(_made_anew(server, events)), _kept_up(server)]


async def _made_anew(server: servers.Postgres, events: int) -> list[Row]:
    await servers.execute(server.dsn(), "create database year")
    dsn = server.dsn("year")
    await migrate(dsn)
    await fill_year(dsn, events, TOOLS)
    await catch_up_all(dsn)
    hand, ours, others = [], [], []
    for _ in range(PAIRS):
        hand.append(await _leaves_by_hand(dsn))
        ours.append((await rebuild(dsn, PROOF))[0])
        others.append(sum([(await rebuild(dsn, projection))[0] for projection in SHOWN]))
    await by_hand.make(dsn)
    await by_hand.must_be_equal(dsn)
    connection = await asyncpg.connect(dsn)
    size = await connection.fetchval(SIZE)
    await connection.close()
    speed = median(one / other for one, other in zip(hand, ours, strict=True))
    more = median((one + other) / other for one, other in zip(ours, others, strict=True))
    return [
        Row("rebuilding the tree's tiles, against the best single statement for the leaf tiles", 0.5, speed,
            f"{median(ours):.1f} s against {median(hand):.1f} s, {events:,} events"),
        Row("rebuilding every view, with `proof` against without", 1.7, more,
            f"{median(ours) + median(others):.1f} s against {median(others):.1f} s", at_least=False),
        Row("the tree's tiles, bytes an event", 36, size, f"{events:,} events, indexes included", "B", at_least=False),
    ]  # fmt: skip


async def _leaves_by_hand(dsn: str) -> float:
    """Make the leaf tiles in one statement; give its seconds."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(by_hand.EMPTY + PROOF.tables + "; set max_parallel_workers_per_gather = 0")
    began = monotonic()
    await connection.execute(LEAVES, timeout=3600)
    took = monotonic() - began
    await connection.close()
    return took


def _kept_up(server: servers.Postgres) -> Row:
    """Let many vote while all views follow, and while all but the tree do."""
    numbers = iter(range(100))

    def voting(whole: bool) -> float:
        return uvloop.run(_voting(server, f"votes_{next(numbers)}", whole))

    ratio, detail = pairs(lambda: voting(True), lambda: voting(False), PAIRS)
    return Row(f"votes appended by {CALLERS} callers, with `proof` following against without", 0.85, ratio, detail)


async def _voting(server: servers.Postgres, name: str, whole: bool, seconds: float = 5) -> float:
    dsn = await new_database(server, name)
    following = asyncio.create_task(follow_log(dsn, now, PROJECTIONS if whole else SHOWN))
    try:
        return await vote_rate(dsn, CALLERS, seconds)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
