"""How long a vote takes to show: from its commit to the card in another process's memory, at 1,000 votes a second."""

import asyncio
from time import monotonic
from typing import Any

import asyncpg
import uvloop

from events.commands.ballots import CastVote
from projections import cards
from projections.engine import notify
from services.web.card_cache import Cards
from tests.benchmarks.table import Row
from tests.benchmarks.world import committer, durable_postgres, new_database, new_id
from tests.support import servers
from tests.support.processes import COMMAND, started
from tests.support.settings import environ


class Watched(Cards):
    """Cards that note when which position was in them."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        super().__init__(pool)
        self.seen: list[tuple[float, int]] = []

    def _take(self, changes: cards.Changes) -> None:
        super()._take(changes)
        self.seen.append((monotonic(), changes.state.position))


async def lags(dsn: str, rate: int, seconds: float) -> list[float]:
    """Vote at a rate; give for each vote the seconds from its commit to the cards that count it."""
    commits: list[tuple[float, int]] = []
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        watched = Watched(pool)
        ring = notify.Bell(dsn, notify.LOG)
        tasks = [
            asyncio.create_task(work)
            for work in (watched.run(), ring.run(), notify.listen(dsn, notify.VIEWS, watched.wake.set))
        ]
        async with committer(dsn, on_commit=lambda events: ring.ring()) as running_committer:

            async def vote(n: int) -> None:
                receipt = await running_committer.submit(CastVote(new_id(), f"tool-{n * 7 % 1000}", "ship"))
                commits.append((monotonic(), receipt.position or 0))

            begun, votes = monotonic(), []
            for n in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begun + n / rate - monotonic()))
                votes.append(asyncio.create_task(vote(n)))
            await asyncio.gather(*votes)
            await asyncio.sleep(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return _lags(sorted(commits, key=lambda c: c[1]), watched.seen)


def _lags(commits: list[tuple[float, int]], seen: list[tuple[float, int]]) -> list[float]:
    found, at = [], 0
    for committed, position in commits:
        while at < len(seen) - 1 and seen[at][1] < position:
            at += 1
        assert seen[at][1] >= position, "a vote never showed"
        found.append(max(0.0, seen[at][0] - committed))
    return found


def measure(rate: int = 1000, seconds: float = 20) -> list[Row]:
    """Measure the row about freshness."""
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(new_database(server, "lag"))
        with started((*COMMAND, "projector"), environ(dsn, valkey)):
            found = sorted(uvloop.run(lags(dsn, rate, seconds))[rate:])
    p50, p99 = (1000 * found[int(len(found) * q)] for q in (0.5, 0.99))
    detail = f"p50 {p50:.0f} ms, worst {1000 * found[-1]:.0f} ms over {len(found):,} votes"
    return [Row(f"from a vote's commit to its card, p99 at {rate:,} votes/s", 100, p99, detail, "ms", at_least=False)]
