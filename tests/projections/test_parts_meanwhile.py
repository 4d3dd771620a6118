"""A part of the log that is made while a runner plans a statement is read like the others."""

import asyncio
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.engine.projection import Projection, connect
from projections.engine.runner import advance
from projections.registry import PROJECTIONS
from tests.support import servers
from tests.support.histories import VOTERS, History, add_three_tools
from tests.support.parts import make_small
from tests.support.runners import must_be_right, until

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PART = 40
WAITING = "select count(*) from pg_locks where not granted and relation = 'log.events_0'::regclass"


@pytest.mark.parametrize("projection", [p for p in PROJECTIONS if p.name in ("cards", "hours")], ids=lambda p: p.name)
async def test_a_part_made_while_a_step_is_planned_is_read(
    projection: Projection, dsn: str, connection: "asyncpg.Connection[Any]", committer: Committer
) -> None:
    """The server keeps a plan that it was making when the part came, and that passes over it: the runner doesn't."""
    await make_small(connection, PART)
    await add_three_tools(committer)
    session = await connect(dsn, projection.schema)
    await advance(session, projection, REGISTRY, 20_000)
    for step in (step for step in projection.steps if step.concerns({"VoteCast"})):
        parts = await connection.fetchval("select count(*) from pg_inherits where inhparent = 'log.events'::regclass")
        async with servers.locked(dsn, "lock table log.events_0 in access exclusive mode"):
            planning = asyncio.create_task(session.execute(step.sql, 0, 0, []))

            async def waits() -> bool:
                return bool(await connection.fetchval(WAITING))

            await until(waits)
            await connection.execute("select log.make_room($1)", (parts + 1) * PART)
        await planning
        history = History(committer)
        for choice in ("ship", "skip") * (PART // 2):
            await history.vote(VOTERS[0], 0, choice)
        await advance(session, projection, REGISTRY, 20_000)
    await session.close()
    await must_be_right(connection, dsn, [projection])
