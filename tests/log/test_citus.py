"""The log on Citus, as far as plain PostgreSQL can show it: the same functions, and heads that are seen before their events.

How Citus itself plans each statement is tried by `tests/support/citus_probe.py`, where there is one.
"""

import io
from collections.abc import AsyncIterator

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log import citus, ids, migrate
from events.log.export import export, import_
from events.registry import REGISTRY
from projections.registry import PROJECTIONS
from services.clock import now
from tests.support import alone, plans, spread, statements
from tests.support.catalogs import new_id
from tests.support.histories import History, add_three_tools
from tests.support.log import add_tools, patient
from tests.support.runners import Connection, catch_up_all, tables, told_by_the_log

APPENDS = {"events.log.store.APPEND"}
"""The one statement that writes, from its arguments and the head that it moves."""

READERS = """
select p.oid::regprocedure::text as name from pg_proc p join pg_language l on l.oid = p.prolang
where l.lanname = 'sql' and p.prosrc ~ '\\mfrom log\\.(events|recorded_events|other_events|tally_changes|public_entries)'
"""


@pytest.fixture
async def spread_dsn(dsn: str) -> str:
    """Name a database with a log as `migrate --citus` prepares it."""
    await spread.prepare(dsn)
    return dsn


@pytest.fixture
async def spread_connection(spread_dsn: str) -> AsyncIterator[Connection]:
    """A connection to such a log."""
    connection = await asyncpg.connect(spread_dsn)
    yield connection
    await connection.close()


async def test_each_statement_reads_the_log_alone(spread_connection: Connection) -> None:
    """No statement of the product joins the log's table with anything, or calls a function of ours where the events are."""
    read, found = 0, []
    for statement in [*statements.of_views(), *statements.of_modules()]:
        await spread_connection.execute(f"set search_path = {statement.schema}")
        try:
            plan = await plans.generic(spread_connection, statement.sql)
        except asyncpg.PostgresError:  # has places that are filled in elsewhere, or needs tables of its own session
            continue
        read += alone.reads_log(plan)
        if statement.name not in APPENDS:
            found += [(statement.name, fault) for fault in alone.faults(plan, statement.sql)]
    assert found == []
    assert read >= 30


async def test_a_join_with_the_log_is_noticed(spread_connection: Connection) -> None:
    """What Citus can't plan is named: joins, subqueries for each event, updates from the log, functions of ours."""
    for sql in (
        "select e.position from log.events e join log.head h on h.position = e.position",
        "select e.position from log.events e where exists (select from log.events n where n.stream = e.stream)",
        "select (select h.position from log.head h where h.position > e.position) from log.events e",
        "update log.head h set position = e.position from log.events e where e.version = 1",
        "select e.position from unnest($1::uuid[]) s join log.events e on e.stream = s",
        "select e.position from log.events e where log.made_at(e.data->>'voter') > 5",
    ):
        assert alone.faults(await plans.generic(spread_connection, sql), sql), sql
    for sql in (
        "select e.position from log.events e where e.position > (select h.position from log.head h)",
        "select count(*) from log.events e where e.type = $1 union all select h.position from log.head h",
        "select e.position from log.head h cross join lateral log.taken(0, h.position) e",
    ):
        assert alone.faults(await plans.generic(spread_connection, sql), sql) == [], sql


async def test_each_function_that_reads_the_log_is_opaque(spread_connection: Connection) -> None:
    """No function in SQL is left that reads the log: Citus would refuse it, or find nothing."""
    assert [row["name"] for row in await spread_connection.fetch(READERS)] == []


async def test_the_functions_are_renewed_by_running_them_again(spread_connection: Connection) -> None:
    """A later migration puts plain functions there; what `migrate` runs after it takes them away again, however often."""
    async with spread_connection.transaction():
        await citus.make_functions(spread_connection)
        await citus.make_functions(spread_connection)
    assert await spread_connection.fetch(READERS) == []


async def test_views_are_the_same_by_either_way(spread_dsn: str, spread_connection: Connection) -> None:
    """What the functions for Citus read is what a plain fold of the log reads, whatever happened."""
    async with patient(spread_dsn) as committer:
        await add_three_tools(committer)
        history = History(committer)
        voters = [new_id() for _ in range(6)]
        await history.do([("vote", voter, n % 3, ("ship", "skip")[n % 2]) for n, voter in enumerate(voters)])
        await history.do([("correct", voters[:3], False), ("vote", voters[4], 0, None), ("correct", voters[:1], True)])
        await history.do([("bookmark", voters[0], 1, True), ("review", voters[5], 2, "ship", 80), ("relist", 1)])
    await catch_up_all(spread_dsn, [1, 7, 3])
    told = await told_by_the_log(spread_connection)
    for projection in PROJECTIONS:
        assert await tables(spread_connection, projection.schema) == told[projection.name], projection.name


PLAIN_LASTS = """
select distinct on (e.stream) array_position($1, e.stream), e.version, e.position from log.events e
where e.stream = any($1) order by e.stream, e.version desc
"""
FETCHED = "select coalesce(sum(idx_tup_fetch), 0) from pg_stat_xact_user_tables where relname = 'events'"


async def test_the_end_of_a_long_stream_is_found_by_few_events(spread_connection: Connection) -> None:
    """Of streams of any length the last event is found, and of a very long one no more than some 64 are read."""
    lengths = [1, 63, 64, 65, 3000]
    streams = [ids.stream_of(new_id()) for _ in (*lengths, "none")]
    await spread_connection.executemany(
        """insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
           select $1, $2 + n, now(), n, 1, 'VoteCast', '{}' from generate_series(1, $3) n""",
        [(stream, 10_000 * place, length) for place, (stream, length) in enumerate(zip(streams, lengths, strict=False))],
    )
    await spread_connection.execute("set enable_seqscan = off")
    async with spread_connection.transaction():
        found = await spread_connection.fetch("select n, version, position from log.lasts($1)", streams)
        fetched = await spread_connection.fetchval(FETCHED)
    assert sorted(map(tuple, found)) == sorted(map(tuple, await spread_connection.fetch(PLAIN_LASTS, streams)))
    assert [row["version"] for row in sorted(found)] == lengths and fetched < 6 * 65


async def test_it_still_refuses_changes(spread_dsn: str, spread_connection: Connection) -> None:
    """The plain table is append-only, has no part, and needs none however long it grows."""
    async with patient(spread_dsn) as committer:
        await add_tools(committer, "a")
    for statement in ("update log.events set version = 7", "delete from log.events", "truncate log.events"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await spread_connection.execute(statement)
    assert await spread_connection.fetchval("select log.make_room(1000000000000000)") == 2**63 - 1
    assert await spread_connection.fetchval("select count(*) from log.parts") == 0


async def test_a_log_goes_in_and_out(dsn: str, connection: Connection, spread_dsn: str) -> None:
    """An export of such a log, or of another one, can be imported; what is appended next finds the whole import there."""
    async with patient(spread_dsn) as committer:
        await add_tools(committer, "a")
        for _ in range(3):
            await committer.submit(CastVote(new_id(), "a", "ship"))
    file = io.BytesIO()
    await export(connection, file, now, lambda *_: None)
    await connection.execute("alter table log.events disable trigger all")
    await connection.execute("truncate log.events")
    await connection.execute("update log.head set position = 0, recorded_at = '-infinity', listing_position = 0")
    await connection.execute("alter table log.events enable trigger all")
    file.seek(0)
    head = await import_(connection, REGISTRY, file, len(file.getvalue()), lambda *_: None)
    async with patient(spread_dsn) as committer:
        assert (await committer.submit(CastVote(new_id(), "a", "skip"))).position == head + 1


async def test_a_server_without_citus_is_told_so(dsn: str, connection: Connection) -> None:
    """`migrate --citus` says what to do and leaves the log as it was."""
    with pytest.raises(citus.CitusMissing, match="create extension citus"):
        await citus.spread(connection)
    assert await connection.fetchval("select log.is_in_parts()")
    assert await citus.is_spread(connection) is False
    assert await migrate.migrate(connection) == 0
    async with patient(dsn) as committer:
        await add_tools(committer, "a")
