"""Migrations that run beside votes: the indexes of what operators did are made outside a transaction, whole in the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.log import migrate
from tests.support import migrations, servers
from tests.support.processes import PATIENCE

INDEXES = """
select c.relname as name, i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relname like 'events_operator%' order by 1
"""
NAMES = ["events_operator_each_type_idx", "events_operator_idx", "events_operator_type_idx", "events_operators_idx"]
VOTE = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
values (gen_random_uuid(), $1, now(), 1, 1, 'VoteCast', '{}')
"""


@pytest.fixture
async def dsn(postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A database of the release before those indexes, and a release whose only new migration makes them."""
    async with servers.database(postgres) as dsn:
        await migrations.bring_to(45, dsn)
        migrations.know_up_to(46, monkeypatch)
        yield dsn


async def valid(connection: Any) -> list[str]:
    """Return the names of the indexes that can be used."""
    return [row["name"] for row in await connection.fetch(INDEXES) if row["valid"]]


async def test_votes_go_on_while_an_index_is_made(dsn: str, connection: Any) -> None:
    """While the build waits for somebody's open transaction, events are appended; it ends when that does."""
    holder, builder = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with asyncio.timeout(PATIENCE):
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(VOTE, 10**9)
        building = asyncio.create_task(migrate.migrate(builder))
        while not await connection.fetch("select 1 from pg_stat_progress_create_index"):
            await asyncio.sleep(0.02)
        for position in range(1, 20):
            await connection.execute(VOTE, position)
        assert not building.done()
        await transaction.rollback()
        assert await building == 1
    assert await valid(connection) == NAMES
    await holder.close()
    await builder.close()


async def test_a_build_that_was_cut_short_is_made_anew(dsn: str, connection: Any) -> None:
    """What a killed build leaves is no use and is dropped; the next migration makes the index whole."""
    holder, builder = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with asyncio.timeout(PATIENCE):
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(VOTE, 10**9)
        building = asyncio.create_task(migrate.migrate(builder))
        while not await connection.fetch(INDEXES):
            await asyncio.sleep(0.02)
        await connection.execute("select pg_terminate_backend($1)", builder.get_server_pid())
        with pytest.raises((asyncpg.PostgresError, ConnectionError, asyncpg.InterfaceError)):
            await building
        await transaction.rollback()
        await holder.close()
        assert await valid(connection) == []
        assert await migrate.migrate(connection) == 1
    assert await valid(connection) == NAMES


async def test_hosts_that_migrate_at_once_make_it_once(dsn: str, connection: Any) -> None:
    """One builds, the others wait without holding a transaction open that the build would wait for."""
    hosts = [await asyncpg.connect(dsn) for _ in range(4)]
    async with asyncio.timeout(PATIENCE):
        assert sorted(await asyncio.gather(*map(migrate.migrate, hosts))) == [0, 0, 0, 1]
    assert await valid(connection) == NAMES
    for host in hosts:
        await host.close()
