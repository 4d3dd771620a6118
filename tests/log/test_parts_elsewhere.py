"""A log in several parts goes elsewhere whole: by a dump, by an export, and as views that are made anew."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log import migrate
from events.log.export import export, import_
from events.registry import REGISTRY
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.clock import now
from services.status.parts import read_parts, wrong
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.log import add_tools, patient
from tests.support.parts import make_small
from tests.support.runners import catch_up_all

VOTES = 60
READ = "select * from log.events order by position"


@pytest.fixture
async def voted(dsn: str, connection: Any) -> AsyncIterator[str]:
    """A log in parts of twenty positions, in four of which there are events."""
    await make_small(connection, 20)
    await cast(dsn, VOTES)
    yield dsn


async def cast(dsn: str, votes: int) -> None:
    """Cast votes on a tool, which is added by the first call."""
    async with patient(dsn) as committer:
        if not await _has_tool(dsn):
            await add_tools(committer, "a")
        await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(votes)))


async def _has_tool(dsn: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        return bool(await connection.fetchval("select position > 0 from log.head"))
    finally:
        await connection.close()


async def must_go_on(dsn: str, events: int) -> None:
    """Assert that a log is as this release makes it, and takes votes into further parts."""
    connection = await asyncpg.connect(dsn)
    try:
        assert await migrate.migrate(connection) == 0
        await cast(dsn, 30)
        log = await read_parts(connection)
        assert list(wrong(log)) == [] and log.parts[-1].last_position >= events + 30
        assert await connection.fetchval("select count(*) = $1 and max(position) = $1 from log.events", events + 30) is True
    finally:
        await connection.close()


async def test_a_dump_holds_every_part(voted: str, connection: Any, postgres: servers.Postgres) -> None:
    """A restored dump has the same events in the same parts, refuses changes, and takes votes."""
    async with servers.database(postgres) as other:
        await asyncio.to_thread(servers.dump_and_restore, voted, other)
        target = await asyncpg.connect(other)
        assert await target.fetch(READ) == await connection.fetch(READ)
        sizes = "select tableoid::regclass::text as part, count(*) from log.events group by 1 order by 1"
        assert await target.fetch(sizes) == await connection.fetch(sizes)
        await target.close()
        await must_go_on(other, VOTES + 1)


async def test_an_export_goes_into_parts_of_another_size(
    voted: str, connection: Any, postgres: servers.Postgres, template: str
) -> None:
    """An import makes the parts that it needs; exported again, the log is the same, byte by byte."""
    file = io.BytesIO()
    await export(connection, file, now, lambda done, of: None)
    async with servers.database(postgres, template) as other:
        target = await asyncpg.connect(other)
        await make_small(target, 7)
        file.seek(0)
        assert await import_(target, REGISTRY, file, 0, lambda done, of: None) == VOTES + 1
        again = io.BytesIO()
        await export(target, again, now, lambda done, of: None)
        assert again.getvalue().splitlines()[:-1] == file.getvalue().splitlines()[:-1]
        assert len((await read_parts(target)).parts) == (VOTES + 1 + 6) // 7
        await target.close()
        await must_go_on(other, VOTES + 1)


async def test_views_are_made_and_verified_over_parts(voted: str) -> None:
    """Every view folds and verifies a log whose windows begin in one part and end in another."""
    await catch_up_all(voted)
    for projection in PROJECTIONS:
        assert (await verify(voted, projection, REGISTRY, SOURCES)).tables == [], projection.name
