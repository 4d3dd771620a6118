"""An older log is taken into parts while the release before goes on voting; when `migrate` dies, the next one goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from events.log import migrate
from tests.support import migrations, servers
from tests.support.before_parts import LAST_MIGRATION, Voting, fill, voting
from tests.support.processes import PATIENCE

EVENTS = 2_500
SIZE = 1_000
FIRST_ENDS = 4_000
"""Where the first part ends: at a multiple of the size, a whole part's room above the head or more."""

IS_WHOLE = """
select count(*) = h.position and count(*) = max(e.position) and count(distinct e.position) = count(*)
from log.events e cross join log.head h group by h.position
"""
FILES = """
select regexp_replace(c.relname, '^events(_0)?(_|$)', '') as name, c.relfilenode as file from pg_class c
where c.oid = any(select $1::regclass union select i.indexrelid from pg_index i where i.indrelid = $1::regclass) order by 1
"""


POLICY = """
create policy own on log.events as restrictive for select to pg_monitor, public using (version > 0 and type <> 'x')
"""
PUBLICATION = """
create publication told for table log.events (position, type) where (version > 1) with (publish_via_partition_root = true)
"""
RIGHTS = (
    "select attname, attacl from pg_attribute where attrelid = $1::text::regclass and attacl is not null",
    "select relrowsecurity from pg_class where oid = $1::text::regclass and relrowsecurity",
    "select polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid) as using"
    " from pg_policy where polrelid = $1::text::regclass",
    "select p.pubname, r.prattrs, pg_get_expr(r.prqual, r.prrelid) as rows"
    " from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where r.prrelid = $1::text::regclass",
)


@pytest.fixture(scope="module")
def older(postgres: servers.Postgres) -> str:
    """The name of a database as the release before left it, with some events."""

    async def make(dsn: str) -> None:
        await migrations.bring_to(LAST_MIGRATION, dsn)
        connection = await asyncpg.connect(dsn)
        await fill(connection, EVENTS)
        await connection.execute("grant select on log.events to pg_monitor")
        await connection.execute("grant select (position) on log.events to pg_read_all_stats with grant option")
        await connection.execute("alter table log.events enable row level security")
        await connection.execute(POLICY)
        await connection.execute(PUBLICATION)
        await connection.execute("create index by_type on log.events (type)")
        await connection.execute("create unique index apart on log.events (position, type)")
        await connection.execute("create view public.cast_votes as select * from log.events where type = 'VoteCast'")
        await connection.close()

    return servers.filled(postgres, "before_parts", "template0", make)


@pytest.fixture
async def dsn(postgres: servers.Postgres, older: str) -> AsyncIterator[str]:
    """Such a database of the test's own."""
    async with servers.database(postgres, older) as dsn:
        yield dsn


async def must_be_in_parts(connection: Any) -> None:
    """Assert that the log is whole, in parts, and read as before."""
    assert await connection.fetchval(IS_WHOLE) is True
    found = [
        tuple(row) for row in await connection.fetch("select part, first_position, last_position from log.parts order by 1")
    ]
    assert found[:2] == [(0, 1, FIRST_ENDS), (1, FIRST_ENDS + 1, FIRST_ENDS + SIZE)]
    events = await connection.fetchval("select count(*) from log.events")
    for table in ("public.cast_votes", "log.recorded_events", "log.public_entries", "log.tally_changes"):
        assert await connection.fetchval(f"select count(*) from {table}") == events, table  # noqa: S608
    like = "select count(*) from pg_inherits i where i.inhparent = 'log.by_type'::regclass"
    assert await connection.fetchval(like) == await connection.fetchval("select count(*) from log.parts")
    granted = "select has_table_privilege('pg_monitor', 'log.events', 'select')"
    assert await connection.fetchval(granted) is True
    for statement in RIGHTS:
        of_parts = await connection.fetch(statement, "log.events")
        assert of_parts and of_parts == await connection.fetch(statement, "log.events_0")
    for table in ("events", "events_0", "events_1"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await connection.execute(f"truncate log.{table}")


async def test_votes_go_on_while_the_log_is_taken_into_parts(
    dsn: str, connection: Any, record_property: Callable[[str, object], None]
) -> None:
    """The release before votes in two sessions, before, during and after; no vote fails and no row is written anew."""
    before = await connection.fetch(FILES, "log.events")
    async with asyncio.timeout(PATIENCE), voting(dsn) as sessions:
        await progress(sessions, 10)
        assert await migrate.migrate(connection, SIZE) > 2
        await progress(sessions, 10)
    record_property("longest wait in seconds", max(one.longest for one in sessions))
    assert await connection.fetch(FILES, "log.events_0") == before
    cast = sorted(position for one in sessions for position in one.positions)
    assert cast == list(range(EVENTS + 1, EVENTS + len(cast) + 1))
    await must_be_in_parts(connection)


async def progress(sessions: list[Voting], votes: int) -> None:
    """Wait until each session has cast some more votes."""
    wanted = [len(one.positions) + votes for one in sessions]
    while any(len(one.positions) < enough for one, enough in zip(sessions, wanted, strict=True)):
        await asyncio.sleep(0.01)


STEPS = ["bound_first_part", "check_first_part", "part_events", "insert into public.ballotpress_migrations"]


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_migrate_that_dies_at_a_step_is_taken_up(
    dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch, step: str, *, is_done: bool
) -> None:
    """Before and after each step: votes of the release before go on, and the next `migrate` ends as one that wasn't killed."""
    dying = await asyncpg.connect(dsn, connection_class=_Dying)
    dying.dies_at, dying.is_done = step, is_done
    with pytest.raises((Killed, asyncpg.InterfaceError)):  # the latter from letting go of a lock in a session that is gone
        await migrate.migrate(dying, SIZE)
    old = Voting()
    for _ in range(3):
        await old.vote(connection)
    await migrate.migrate(connection, SIZE)
    await old.vote(connection)
    assert old.positions == list(range(EVENTS + 1, EVENTS + 5))
    await must_be_in_parts(connection)


class Killed(Exception):
    """The process is gone."""


class _Dying(asyncpg.Connection):  # type: ignore[misc,type-arg]
    """A session whose process is killed before or after it runs a certain statement beside votes."""

    dies_at = ""
    is_done = False

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        """Run a statement, or die. A transaction under way is not what is meant."""
        is_it = self.dies_at in query and not self.is_in_transaction()
        if not is_it:
            return await super().execute(query, *args, **options)
        if self.is_done:
            await super().execute(query, *args, **options)
        self.terminate()
        raise Killed


async def test_the_switch_waits_for_nobody_who_reads_for_long(
    dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody reads the log in one long transaction votes go on; `migrate` says who it is, and the next one ends."""
    monkeypatch.setattr(migrate, "_PATIENCE_SECONDS", 0.5)
    reader = await asyncpg.connect(dsn, server_settings={"application_name": "long report"})
    await reader.execute("begin")
    await reader.fetchval("select count(*) from log.recorded_events")
    async with asyncio.timeout(PATIENCE), voting(dsn) as sessions:
        with pytest.raises(migrate.LogInUse, match="long report"):
            await migrate.migrate(connection, SIZE)
        await progress(sessions, 5)
        await reader.close()
        monkeypatch.undo()
        await migrate.migrate(connection, SIZE)
        await progress(sessions, 5)
    await must_be_in_parts(connection)


async def test_hosts_that_migrate_at_once_switch_once(dsn: str, connection: Any) -> None:
    """Of several `migrate` at once one does each step, and all end well."""
    hosts = [await asyncpg.connect(dsn) for _ in range(3)]
    async with asyncio.timeout(PATIENCE):
        ran = await asyncio.gather(*(migrate.migrate(host, SIZE) for host in hosts))
    assert sum(ran) == await connection.fetchval(
        "select count(*) from ballotpress_migrations where number > $1", LAST_MIGRATION
    )
    await must_be_in_parts(connection)
    for host in hosts:
        await host.close()
