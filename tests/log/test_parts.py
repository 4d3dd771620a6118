"""The log in parts: an append never lacks one, each refuses changes, and an older log is taken into parts beside votes."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from events import ballots
from events.catalog import ToolUnlisted
from events.commands.ballots import CastVote
from events.log import ids, parts
from events.log.committer import Committer
from tests.support.before_parts import fill
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append, patient
from tests.support.parts import make_small
from tests.support.servers import locked

SIZE = 10
READ_PARTS = "select part, first_position, last_position from log.parts order by part"
# What the server has, by its own catalog.
ATTACHED = """
select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'log.events'::regclass order by 1
"""

READ_SCANS = "select relname, seq_scan from pg_stat_user_tables where relname like 'events%' order by 1"


@pytest.fixture
async def small(connection: Any) -> Any:
    """A connection to a log whose parts hold ten positions."""
    await make_small(connection, SIZE)
    return connection


@pytest.fixture
async def voting(small: Any, dsn: str) -> AsyncIterator[Committer]:
    """A committer of such a log, with one tool."""
    async with patient(dsn) as committer:
        await add_tools(committer, "a")
        yield committer


async def vote(committer: Committer, votes: int) -> None:
    """Cast votes of as many voters, all at once."""
    await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(votes)))


async def test_an_append_makes_the_part_that_is_missing(voting: Committer, small: Any) -> None:
    """With nobody who makes parts ahead, votes go on: a batch makes as many as it needs, each bordering on the last."""
    await vote(voting, 1)
    await vote(voting, 60)
    assert await small.fetchval("select count(*) = 62 and max(position) = 62 from log.events") is True
    made = [tuple(row) for row in await small.fetch(READ_PARTS)]
    assert made == [(n, SIZE * n + 1, SIZE * (n + 1)) for n in range(7)]
    attached = [(row["name"], row["bounds"]) for row in await small.fetch(ATTACHED)]
    assert attached == [(f"events_{n}", f"FOR VALUES FROM ('{first}') TO ('{last + 1}')") for n, first, last in made]


async def test_an_operators_index_goes_on_with_the_parts(voting: Committer, small: Any) -> None:
    """An index of any name on the whole log, made as the manual says, keeps no part from being made; each part has its like."""
    await small.execute('create index "By type" on only log.events (type)')
    await small.execute("create index by_type_0 on log.events_0 (type)")
    await small.execute('alter index log."By type" attach partition log.by_type_0')
    await vote(voting, 30)
    like = """
    select array_agg(i.inhrelid::regclass::text order by 1) from pg_inherits i where i.inhparent = 'log."By type"'::regclass
    """
    named = ["log.by_type_0", *(f'log."events_{n}_By type"' for n in (1, 2, 3))]
    assert sorted(await small.fetchval(like)) == sorted(named)


async def test_committers_that_lack_a_part_at_once_make_it_once(dsn: str, small: Any) -> None:
    """Processes that append side by side, and the clock that makes parts ahead, agree on the parts."""
    async with patient(dsn) as one, patient(dsn) as two:
        await add_tools(one, "a")
        pool = await asyncpg.create_pool(dsn, min_size=2, max_size=2)
        await asyncio.gather(vote(one, 80), vote(two, 80), *(parts.make_room_ahead(pool, SIZE) for _ in range(10)))
        await pool.close()
    ranges = await small.fetch(READ_PARTS)
    assert all(after["first_position"] == before["last_position"] + 1 for before, after in pairwise(ranges))
    assert await small.fetchval("select count(*) = 161 and max(position) = 161 from log.events") is True


async def test_parts_are_made_ahead(voting: Committer, small: Any) -> None:
    """There is room for a part's events above the head, by parts of the size that is asked for."""
    assert await parts.make_room_ahead(small, 25) >= 26
    assert [row["last_position"] for row in await small.fetch(READ_PARTS)] == [10, 35]
    await vote(voting, 20)
    assert [row["last_position"] for row in await small.fetch(READ_PARTS)] == [10, 35]


async def test_a_part_that_went_with_its_transaction_is_made_anew(voting: Committer, small: Any) -> None:
    """A batch that the server refuses takes the part along that it had made; the next batch makes it again."""
    await vote(voting, 8)
    poison = append(*((ids.stream_of(new_id()), ToolUnlisted(tool="\x00")) for _ in range(5)))
    with pytest.raises(asyncpg.PostgresError):
        await voting.submit(poison)
    await vote(voting, 5)
    assert await small.fetchval("select max(position) from log.events") == 14


async def test_a_part_is_made_while_somebody_appends(voting: Committer, small: Any, dsn: str) -> None:
    """Neither waits for the other: an open transaction that appended doesn't keep a part from being made, nor it a vote."""
    await vote(voting, 1)
    holder, maker = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    await holder.execute("begin")
    await holder.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
        " values (gen_random_uuid(), 9, now(), 1, 1, 'VoteCast', '{}')"
    )
    await maker.execute("set lock_timeout = '5s'")
    await maker.execute("begin")
    assert await parts.make_room(maker, 15) == 20
    await vote(voting, 1)
    await maker.execute("commit")
    await holder.execute("rollback")
    await holder.close()
    await maker.close()


@pytest.mark.parametrize("statement", ["update log.{} set version = 9", "delete from log.{}", "truncate log.{}"])
async def test_every_part_refuses_change(voting: Committer, small: Any, statement: str) -> None:
    """UPDATE, DELETE and TRUNCATE are refused on the log and on each of its parts, the empty one too."""
    await vote(voting, 12)
    await parts.make_room_ahead(small, SIZE)
    for name in ("events", *(f"events_{row['part']}" for row in await small.fetch(READ_PARTS))):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
            await small.execute(statement.format(name))


async def test_appends_go_by_indexes_of_a_part_that_was_empty(small: Any, dsn: str) -> None:
    """A statement that was planned while a part was known to be empty doesn't pass over all of it once it is full."""
    await parts.make_room_ahead(small, 200)
    await small.execute("vacuum analyze log.events")
    await small.execute("select pg_stat_force_next_flush()")  # the scans by which the parts' indexes were made
    before = await small.fetch(READ_SCANS)
    async with patient(dsn) as committer:
        await add_tools(committer, "a")
        for _ in range(15):
            await vote(committer, 10)
    await small.execute("select pg_stat_clear_snapshot()")
    assert await small.fetchval("select count(*) from log.events_1") > 100
    assert await small.fetch(READ_SCANS) == before


READ_INDEXES = """
select x.relname as name, pg_relation_filenode(x.oid) as file, x.reloptions = '{fillfactor=100}' as is_dense,
       i.indisvalid and i.indisready as is_whole
from pg_index i join pg_class x on x.oid = i.indexrelid join log.parts p on i.indrelid = to_regclass('log.events_' || p.part)
order by 1
"""


async def test_a_full_part_is_packed_once(small: Any, dsn: str) -> None:
    """The keys of full parts are written anew without the gaps that votes left; the part at the head is left alone."""
    await make_small(small, 3_000)
    await small.execute("select log.make_room(6500)")
    await fill(small, 6_500)
    before = {row["name"]: row for row in await small.fetch(READ_INDEXES)}
    assert await parts.keep(small) == 4
    after = {row["name"]: row for row in await small.fetch(READ_INDEXES)}
    keys = {f"events_{n}_{key}" for n in (0, 1) for key in ("pkey", "position_key")}
    assert all(row["is_whole"] for row in after.values()) and after.keys() == before.keys()
    assert {name for name in after if after[name]["file"] != before[name]["file"]} == keys
    assert {name for name, row in after.items() if row["is_dense"]} == keys
    assert await parts.keep(small) == 0
    assert {row["name"]: row for row in await small.fetch(READ_INDEXES)} == after
    assert await small.fetchval("select reltuples from pg_class where oid = 'log.events'::regclass") == 6_500


async def test_a_packing_that_was_cut_short_is_done_anew(small: Any, dsn: str) -> None:
    """What a killed packing leaves is an index that nobody uses: it is dropped, and the next one ends."""
    await make_small(small, 1_000)
    await small.execute("select log.make_room(1500)")
    await fill(small, 1_500)
    killed, other = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with locked(dsn, "select * from log.events_0 limit 1"):
        packing = asyncio.create_task(parts.keep(killed))
        while not await small.fetch("select from pg_stat_progress_create_index where phase like 'waiting%'"):
            await asyncio.sleep(0.02)
        assert await parts.keep(other) == 0  # one does it
        await small.execute("select pg_terminate_backend($1)", killed.get_server_pid())
        with pytest.raises((asyncpg.PostgresError, ConnectionError, asyncpg.InterfaceError)):
            await packing
    assert not all(row["is_whole"] for row in await small.fetch(READ_INDEXES))
    assert await parts.keep(small) == 2
    assert all(row["is_whole"] for row in await small.fetch(READ_INDEXES))
    await other.close()


READ_PROBES = "select relname, idx_scan from pg_stat_xact_user_tables where relname ~ '^events_[0-9]+$'"


@pytest.mark.parametrize("asked", ["log.stand($1, array_fill(0::bigint, array[80]))", "count(*) = 0 from log.lasts($1)"])
async def test_a_full_part_is_asked_once_for_many_new_streams(small: Any, voting: Committer, asked: str) -> None:
    """Where a batch's streams end is asked of each full part by one search, not by one for each new voter's stream."""
    if small.get_server_version().major < 17:
        pytest.skip("before PostgreSQL 17 a search by a list is as many as the list is long")
    await vote(voting, 69)
    voters = [new_id() for _ in range(40)]
    streams = [stream for voter in voters for stream in (ids.stream_of(voter), ballots.stream(voter, new_id()))]
    await small.execute("set enable_seqscan = off")
    async with small.transaction():
        before = dict(await small.fetch(READ_PROBES))
        assert await small.fetchval(f"select {asked}", streams) is True
        after = dict(await small.fetch(READ_PROBES))
    assert {part: after[part] - before.get(part, 0) for part in after} == {f"events_{n}": 1 for n in range(7)}


PLAIN_LASTS = """
select distinct on (e.stream) array_position($1, e.stream), e.version, e.position from log.events e
where e.stream = any($1) order by e.stream, e.version desc
"""


async def test_the_end_of_a_stream_is_found_in_whatever_part(voting: Committer, small: Any) -> None:
    """Streams that go on from part to part, begin in any of them or nowhere end where a plain look at all events says."""
    voters = [new_id() for _ in range(9)]
    for n in range(60):
        await voting.submit(CastVote(voters[n * n % 7], "a", ("ship", "skip", None)[n % 3]))
    tool = await small.fetchval("select data->>'tool' from log.events where type = 'ToolAdded'")
    streams = [stream for voter in voters for stream in (ids.stream_of(voter), ballots.stream(voter, tool))]
    expected = sorted(map(tuple, await small.fetch(PLAIN_LASTS, streams)))
    found = await small.fetch("select n, version, position from log.lasts($1)", streams)
    assert len(expected) == 4 and sorted(map(tuple, found)) == expected
    positions = dict.fromkeys(range(1, len(streams) + 1), 0) | {n: position for n, _, position in expected}
    stand = "select log.stand($1, $2)"
    assert await small.fetchval(stand, streams, [*positions.values()]) is True
    assert await small.fetchval(stand, streams, [0] * len(streams)) is False
    new = [stream for n, stream in enumerate(streams, 1) if not positions[n]]
    assert await small.fetchval(stand, new, [0] * len(new)) is True


async def test_a_stream_without_its_first_event_has_begun(voting: Committer, small: Any) -> None:
    """In a log that was damaged, a stream whose first event is missing goes on: in a large batch as in a small one."""
    voters = [new_id() for _ in range(9)]
    for choice in ("ship", "skip"):
        for voter in voters:
            await voting.submit(CastVote(voter, "a", choice))
    damaged = await small.fetchrow("select stream, position from log.events where version = 2 order by position limit 1")
    await small.execute("set session_replication_role = replica")
    await small.execute("delete from log.events where stream = $1 and version = 1", damaged["stream"])
    others = [row["stream"] for row in await small.fetch("select distinct stream from log.events where version = 2")]
    streams = [damaged["stream"], *(stream for stream in others if stream != damaged["stream"])]
    for asked in (streams[:2], streams):
        found = {row["n"]: row["position"] for row in await small.fetch("select n, position from log.lasts($1)", asked)}
        assert (len(found), found[1]) == (len(asked), damaged["position"])
