"""What operators may rely on, on a log of 10 million events over a year: rebuilding, verifying, and the site meanwhile."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import asyncpg
import uvloop

from events.registry import REGISTRY
from projections import hours
from projections.engine.folding import PAUSE_SECONDS, Jobs, Pace
from projections.engine.projection import Projection, only_one
from projections.engine.rebuild import Rebuild
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.cli.folding import each_in_turn, longest_first
from services.migrate import migrate
from services.web.http.auth import VisitorTokens
from tests.benchmarks import by_hand
from tests.benchmarks.client import Answered, paced, percentile
from tests.benchmarks.http import site
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres, new_id
from tests.support import servers
from tests.support.runners import catch_up_all
from tests.support.settings import SECRET_KEY, environ
from tests.support.year import fill_year

TOOLS = 5_000
VOTES_A_SECOND = 200
READS_A_SECOND = 100

SIZE = """
select sum(pg_total_relation_size(c.oid))::float8 from pg_class c
where c.relkind = 'r' and c.relnamespace = to_regnamespace($1)::oid
"""

Request = tuple[str, str, str, bytes]


def measure(events: int | None = None) -> list[Row]:
    """Measure every row about replaying; `BALLOTPRESS_BENCH_EVENTS` makes the log smaller than 10 million."""
    events = events or int(os.environ.get("BALLOTPRESS_BENCH_EVENTS", "10_000_000"))
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        small = uvloop.run(_year(server, "small", events // 10))
        large = uvloop.run(_year(server, "large", events))
        memory = _memory(small, large, valkey, events)
        speeds = uvloop.run(_speeds(large))
        with site(large, valkey, server.folder) as api:
            sizes = uvloop.run(_sizes(large))
            return [
                *speeds,
                *uvloop.run(_jobs(large)),
                *sizes,
                memory,
                *uvloop.run(_meanwhile(large, api.port)),
                *uvloop.run(_past(large)),
            ]


async def _year(server: servers.Postgres, name: str, events: int) -> str:
    await servers.execute(server.dsn(), f"create database {name}")
    dsn = server.dsn(name)
    await migrate(dsn)
    await fill_year(dsn, events, TOOLS)
    await catch_up_all(dsn)
    return dsn


async def rebuild(dsn: str, projection: Projection, pause: float = 0.0, jobs: Jobs | None = None) -> tuple[float, float]:
    """Rebuild one view and switch; give the seconds in all, and when the switch began."""
    began = monotonic()
    async with only_one(dsn, projection):
        rebuild = Rebuild(dsn, projection, REGISTRY, pace=Pace(pause=pause), jobs=jobs)
        await rebuild.prepare()
        await rebuild.catch_up()
        switching = monotonic()
        await rebuild.switch(keep_previous=False)
    return monotonic() - began, switching


async def _speeds(dsn: str) -> list[Row]:
    """Rebuild every view, make the same tables by hand, and verify; three of each in turn."""
    rebuilt, made, verified = [], [], []
    for _ in range(3):
        made.append(await by_hand.make(dsn))
        rebuilt.append({p.name: (await rebuild(dsn, p))[0] for p in PROJECTIONS})
        began = monotonic()
        for projection in PROJECTIONS:
            found = await verify(dsn, projection, REGISTRY, SOURCES)
            assert found.tables == [], found
        verified.append(monotonic() - began)
    await by_hand.must_be_equal(dsn)
    hand, ours = _fastest(made), _fastest(rebuilt)
    best = hand["cards"] + hand["tallies"]
    all_hand, all_ours = sum(hand.values()), sum(ours.values())
    each = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ours.items())
    cards = (
        f"{ours['cards']:.1f} s, all of cards, against {hand['tallies']:.1f} s; for all of cards {best / ours['cards']:.2f} ×"
    )
    return [
        Row("rebuilding the tallies, against the best single SQL statement for it", 0.5, hand["tallies"] / ours["cards"],
            cards),
        Row("rebuilding every view, against the best statements for the same tables", 0.5, all_hand / all_ours,
            f"{all_ours:.1f} s against {all_hand:.1f} s; {each}"),
        Row("verify of everything, against the rebuild's time", 1.5, min(verified) / all_ours,
            f"{min(verified):.1f} s against {all_ours:.1f} s", at_least=False),
    ]  # fmt: skip


async def _jobs(dsn: str, pairs: int = 3) -> list[Row]:
    """Rebuild and verify everything by two jobs and by one, and make the same tables by hand in two sessions, in turn."""
    alone = await by_hand.make(dsn)
    hand, rebuilt, verified = [], {1: list[float](), 2: list[float]()}, {1: list[float](), 2: list[float]()}
    for _ in range(pairs):
        hand.append(await by_hand.side_by_side(dsn, alone))
        for jobs in (2, 1):
            rebuilt[jobs].append(await timed(rebuild_all(dsn, jobs)))
            verified[jobs].append(
                await timed(_all(dsn, jobs, lambda p, shared: verify(dsn, p, REGISTRY, SOURCES, jobs=shared)))
            )
    two, one = min(rebuilt[2]), min(rebuilt[1])
    return [
        Row("rebuilding every view by 2 jobs, against by 1", 0.6, two / one, f"{two:.1f} s against {one:.1f} s",
            at_least=False),
        Row("rebuilding every view by 2 jobs, against the best statements in two sessions", 0.8, min(hand) / two,
            f"{two:.1f} s against {min(hand):.1f} s"),
        Row("verify of everything by 2 jobs, against by 1", 0.6, min(verified[2]) / min(verified[1]),
            f"{min(verified[2]):.1f} s against {min(verified[1]):.1f} s", at_least=False),
    ]  # fmt: skip


async def rebuild_all(dsn: str, jobs: int) -> None:
    """Rebuild every view and switch, by so many jobs."""
    await _all(dsn, jobs, lambda projection, shared: rebuild(dsn, projection, jobs=shared))


async def _verify_all(dsn: str, jobs: int) -> None:
    await _all(dsn, jobs, lambda projection, shared: verify(dsn, projection, REGISTRY, SOURCES, jobs=shared))


async def _all(dsn: str, jobs: int, work: Callable[[Projection, Jobs], Awaitable[Any]]) -> None:
    """Do the work on every view as the commands do: as many at once as there are jobs."""
    shared = Jobs(jobs)
    connection = await asyncpg.connect(dsn)
    order = PROJECTIONS if jobs == 1 else await longest_first(connection, PROJECTIONS)
    await connection.close()
    await each_in_turn(lambda projection: work(projection, shared), order, jobs)


async def _sizes(dsn: str) -> list[Row]:
    """Give the bytes an event of the view `hours`, with its indexes, and of all views, as a rebuild left them."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        head = await pool.fetchval("select position from log.head")
        each = {p.name: await pool.fetchval(SIZE, p.schema) / head for p in PROJECTIONS}
    said = ", ".join(f"{name} {size:.1f}" for name, size in each.items())
    return [
        Row("bytes an event of the view `hours`", 35, each["hours"], f"all views {sum(each.values()):.0f}: {said}", "B",
            at_least=False),
    ]  # fmt: skip


def _fastest(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _memory(small: str, large: str, valkey: str, events: int) -> Row:
    """Compare what the replaying process takes at its peak."""
    peaks = [_peak(dsn, valkey) for dsn in (small, large)]
    return Row(
        f"peak memory of the replaying process, {events:,} events against {events // 10:,}", 1.1, peaks[1] / peaks[0],
        f"{peaks[1]:.1f} MB against {peaks[0]:.1f} MB", at_least=False,
    )  # fmt: skip


def _peak(dsn: str, valkey: str) -> float:
    """Run `replay --dry-run` to its end; give its peak of resident memory in MB."""
    command = [sys.executable, "-m", "services.cli", "replay", "--dry-run", "--pause", "0"]
    process = subprocess.Popen(command, env=environ(dsn, valkey), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    process.returncode = 0
    return usage.ru_maxrss / 1000


async def _meanwhile(dsn: str, port: int) -> list[Row]:
    """Vote and read at an even pace while everything is rebuilt, and alone: half a minute before, and half a minute after."""
    issuer = VisitorTokens((SECRET_KEY,))
    fresh = [issuer.issue(new_id()) for _ in range(20_000)]
    numbers = iter(range(10**9))

    def vote(_: int) -> Request:
        n = next(numbers)
        path = f"/v1/tools/tool-{n * 7 % TOOLS}/vote"
        return ("PUT", path, fresh[n % len(fresh)], b'{"choice":"ship"}' if n // len(fresh) % 2 == 0 else b'{"choice":"skip"}')

    def read(n: int) -> Request:
        return ("GET", f"/v1/tools/tool-{n % TOOLS}/tally", "", b"")

    async def during(work: Callable[[], Awaitable[Any]]) -> tuple[Any, list[Answered], list[Answered]]:
        task = asyncio.ensure_future(work())
        votes, reads = await asyncio.gather(
            paced(port, vote, VOTES_A_SECOND, lambda: not task.done()),
            paced(port, read, READS_A_SECOND, lambda: not task.done()),
        )
        return await task, votes, reads

    await _flush(dsn)
    await during(lambda: asyncio.sleep(3))
    _, before, _ = await during(lambda: asyncio.sleep(30))
    switches, votes, reads = await during(lambda: _all_rebuilt(dsn))
    await _flush(dsn)
    _, after, _ = await during(lambda: asyncio.sleep(30))
    p99, p99_alone = percentile(votes, 0.99), percentile(before + after, 0.99)
    waits = [answer.seconds for answer in votes + reads if any(_overlaps(answer, *switch) for switch in switches)]
    held = 1000 * max(end - start for start, end in switches)
    return [
        Row("p99 of a vote over HTTP while everything is rebuilt, against p99 without", 3, p99 / p99_alone,
            f"{1000 * p99:.1f} ms against {1000 * p99_alone:.1f} ms at {VOTES_A_SECOND} votes/s, of {len(votes):,} votes",
            at_least=False),
        Row("the switch: longest time a read or a vote waits", 100, 1000 * max(waits, default=0.0),
            f"{len(waits)} votes and reads during {len(switches)} switches of up to {held:.0f} ms", "ms", at_least=False),
    ]  # fmt: skip


async def _flush(dsn: str) -> None:
    """Write out what earlier measurements left dirty, so that it slows neither side of this one."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("checkpoint", timeout=600)
    await connection.close()


async def _all_rebuilt(dsn: str) -> list[tuple[float, float]]:
    """Rebuild every view with the default throttle; give when each switch began and ended."""
    switches = []
    for projection in PROJECTIONS:
        _, began = await rebuild(dsn, projection, PAUSE_SECONDS)
        switches.append((began, monotonic()))
        await asyncio.sleep(0.5)
    return switches


def _overlaps(answer: Answered, start: float, end: float) -> bool:
    return answer.due < end and answer.due + answer.seconds > start


async def _past(dsn: str, samples: int = 60) -> list[Row]:
    """Ask for tallies of random times, and for a year's history, of the tools with most votes and of others."""
    rows = []
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        by_votes = await pool.fetch("select tool from cards_4.tallies order by ship + skip desc")
        tools = [by_votes[(n * n) % len(by_votes)]["tool"] for n in range(samples)]
        now = datetime.now(UTC)
        times = [now - timedelta(days=n * 37 % 364, seconds=n * 997 % 86_400) for n in range(samples)]
        for corrected in (False, True):
            seconds = [
                await timed(hours.as_of(pool, tool, time, corrected=corrected)) for tool, time in zip(tools, times, strict=True)
            ]
            rows.append(_past_row(f"tally as of a time, {'corrected' if corrected else 'counted'}, p99", seconds))
        year = now - timedelta(days=365)
        seconds = [await timed(hours.changes(pool, tool, year, now, "day", corrected=False)) for tool in tools]
        rows.append(_past_row("history of a tally over a year, p99", seconds))
    return rows


async def timed(work: Awaitable[Any]) -> float:
    """Return the seconds that some work takes."""
    began = monotonic()
    await work
    return monotonic() - began


def _past_row(name: str, seconds: list[float]) -> Row:
    seconds.sort()
    p99, median = (1000 * seconds[int(len(seconds) * share)] for share in (0.99, 0.5))
    return Row(name, 50, p99, f"median {median:.1f} ms of {len(seconds)}", "ms", at_least=False)
