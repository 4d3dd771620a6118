"""How long a void keeps votes waiting: 50,000 voters taken out in batches, while somebody asks for the head."""

import asyncio
from time import monotonic

import asyncpg
import uvloop

from events.integrity import Ruling
from events.log.committer import Committer
from events.registry import REGISTRY
from services.integrity import decisions
from services.migrate import migrate
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres, new_id
from tests.support.cohorts import cast, suspect
from tests.support.log import add_tools
from tests.support.runners import catch_up_all

VOTERS = 50_000
AT_ONCE = 1_000
PACE_SECONDS = 0.005
HEAD = "select position from log.head for update"


def held() -> Row:
    """Measure the longest and the usual wait for the head while a cohort is voided."""
    with durable_postgres() as server:
        return uvloop.run(_held(server.dsn()))


async def _held(dsn: str) -> Row:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    async with Committer(dsn, REGISTRY, patience=60) as committer, asyncpg.create_pool(dsn, min_size=1) as pool:
        tools = await add_tools(committer, "a", "b")
        for _ in range(VOTERS // AT_ONCE):
            await cast(committer, tools["a"], "ship", AT_ONCE)
        await catch_up_all(dsn, (20_000,))
        cohort = await suspect(connection, tools["a"])
        await decisions.decide(pool, committer, cohort.id, Ruling("void", "one hand", "ada", new_id(), 0))
        began = monotonic()
        void = asyncio.ensure_future(decisions.carry_out(dsn, committer, cohort.id))
        waits = sorted([await _wait(connection) for _ in iter(void.done, True)])
        await void
    await connection.close()
    said = f"median of the waits above 10 ms {1000 * _median([one for one in waits if one > 0.01]):.0f} ms"
    return Row(f"longest wait for the head while {VOTERS:,} voters are voided", 100, 1000 * waits[-1],
               f"{said}; {monotonic() - began:.0f} s in all", "ms", at_least=False)  # fmt: skip


async def _wait(connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    await asyncio.sleep(PACE_SECONDS)
    began = monotonic()
    await connection.execute(HEAD)
    return monotonic() - began


def _median(waits: list[float]) -> float:
    return waits[len(waits) // 2] if waits else 0.0
