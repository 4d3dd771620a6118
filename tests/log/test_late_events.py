"""A head that is seen before its events, as on Citus: a batch is committed on the coordinator first, then where its events are.

Here a batch's head and its events are committed by sessions of their own, one after the other; in between, everybody who reads
the log is asked. The functions are those that `migrate --citus` puts there.
"""

import asyncio
from typing import Any

import asyncpg
import pytest

from events.ballots import VoteCast, stream
from events.catalog import Listing
from events.commands.ballots import CastVote
from events.erasure import PersonErased
from events.log import history, ids, store
from events.log.committer import Committer, LogUnavailable
from events.log.transaction import Known, follow_all
from events.registry import REGISTRY
from projections.engine.projection import connect
from projections.engine.runner import Halted, advance
from services.web.erased import READ_ERASED
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append, patient, tool_added
from tests.support.runners import CARDS, catch_up
from tests.support.spread import late, prepare

A_MOMENT = 0.2


@pytest.fixture
async def spread_dsn(dsn: str) -> str:
    """Name a database with a log as `migrate --citus` prepares it."""
    await prepare(dsn)
    return dsn


async def add_tool(dsn: str) -> str:
    """Add a tool, `a`; return its id."""
    async with patient(dsn) as committer:
        return (await add_tools(committer, "a"))["a"]


def vote(voter: str, tool: str) -> tuple[Any, int, VoteCast]:
    """Return a first vote, as a server holds it."""
    return stream(voter, tool), 1, VoteCast(voter=voter, tool=tool, choice="ship")


async def test_the_plain_functions_would_read_a_stale_stream(dsn: str, connection: Any) -> None:
    """What the tests below are about: as one server does it, a decision sees the new head and not the event below it."""
    tool, voter = await add_tool(dsn), new_id()
    await connection.execute("alter table log.head add column previous bigint")
    async with late(dsn, [vote(voter, tool)]):
        head, *lasts = await connection.fetch("select n, position from log.lock_and_read($1)", [stream(voter, tool)])
        assert (head["position"], lasts) == (2, [])


@pytest.mark.parametrize("choice", ["skip", "ship"])
async def test_a_decision_waits_for_the_last_batch(spread_dsn: str, choice: Any) -> None:
    """A vote is decided on the voter's vote of a moment before, though that one was seen a moment after its head."""
    tool, voter = await add_tool(spread_dsn), new_id()
    async with patient(spread_dsn) as committer, late(spread_dsn, [vote(voter, tool)]) as (server,):
        deciding = committer.submit(CastVote(voter, "a", choice))
        await asyncio.sleep(A_MOMENT)
        assert not deciding.done()
        await server.commit()
        receipt = await deciding
    assert receipt.value.previous == "ship"
    assert receipt.appended == (choice == "skip")


async def test_it_waits_for_every_server(spread_dsn: str) -> None:
    """The batch is there once all its events are, on whatever server."""
    tool, voters = await add_tool(spread_dsn), [new_id(), new_id()]
    async with patient(spread_dsn) as committer, late(spread_dsn, *([vote(voter, tool)] for voter in voters)) as servers:
        deciding = committer.submit(CastVote(voters[0], "a", None))
        await servers[0].commit()
        await asyncio.sleep(A_MOMENT)
        assert not deciding.done()
        await servers[1].commit()
        assert (await deciding).value.previous == "ship"


async def test_a_server_that_stays_away_refuses_appends(spread_dsn: str) -> None:
    """After a second without the events nothing is appended, and the caller is told to come again; then it works."""
    tool, voter = await add_tool(spread_dsn), new_id()
    async with late(spread_dsn, [vote(voter, tool)]) as (server,):
        async with Committer(spread_dsn, REGISTRY, patience=0.5) as committer:
            with pytest.raises(LogUnavailable):
                await committer.submit(CastVote(voter, "a", "skip"))
        await server.commit()
    async with patient(spread_dsn) as committer:
        receipt = await committer.submit(CastVote(voter, "a", "skip"))
    assert (receipt.position, receipt.value.previous) == (3, "ship")


async def test_a_view_waits_and_does_not_halt(spread_dsn: str) -> None:
    """A projector that sees the head first folds the batch when its events are there; nothing is passed over."""
    tool = await add_tool(spread_dsn)
    await catch_up(spread_dsn, CARDS)
    connection = await connect(spread_dsn, CARDS.schema)
    async with late(spread_dsn, [vote(new_id(), tool)], [vote(new_id(), tool)]) as servers:
        folding = asyncio.create_task(advance(connection, CARDS, REGISTRY, 20_000))
        for server in servers:
            await asyncio.sleep(A_MOMENT)
            assert not folding.done()
            await server.commit()
        assert (await folding).end == 3
    assert await connection.fetchval("select ship from tallies") == 2
    await connection.close()


async def test_a_view_halts_at_a_hole_that_stays(spread_dsn: str) -> None:
    """Events that don't come are a hole, and are named."""
    tool = await add_tool(spread_dsn)
    await catch_up(spread_dsn, CARDS)
    connection = await connect(spread_dsn, CARDS.schema)
    async with late(spread_dsn, [vote(new_id(), tool)]):
        with pytest.raises(Halted, match="HoleInLog") as halt:
            await advance(connection, CARDS, REGISTRY, 20_000, patience=A_MOMENT)
    assert halt.value.position == 2
    await connection.close()


async def test_no_place_in_the_log_is_passed_over(spread_dsn: str) -> None:
    """Who reads on from a place by itself (events by an API, erasures, the listing) goes on only to what is whole."""
    tool = await add_tool(spread_dsn)
    connection = await asyncpg.connect(spread_dsn)
    person, more = new_id(), new_id()
    listed = (ids.stream_of(more), 1, tool_added(more, "b"))
    erased = (ids.stream_of(person), 1, PersonErased(person=person))
    async with late(spread_dsn, [listed, erased], [vote(new_id(), tool)], listing=1) as servers:
        await servers[1].commit()  # the last position is there, the two before it are not
        assert await store.read_on(connection, 1, 100) == ((), 1)
        assert (await connection.fetchrow(READ_ERASED, 1, 0))["position"] == 1
        mark = await history.mark_of_head(connection)
        assert mark is not None and mark.position == 1
        known = Known(REGISTRY)
        await follow_all(connection, REGISTRY, known)
        assert isinstance(known.listing, Listing) and known.listing.position == 1
        await servers[0].commit()
        rows, through = await store.read_on(connection, 1, 100)
        assert ([row.position for row in rows], through) == ([2, 3, 4], 4)
        row = await connection.fetchrow(READ_ERASED, 1, 0)
        assert (row["position"], row["persons"]) == (4, [person])
        await follow_all(connection, REGISTRY, known)
        assert known.listing.position == 2
    await connection.close()


async def test_a_large_command_waits_too(spread_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided without the lock is held against the last batch, whole."""
    await add_tool(spread_dsn)
    connection = await asyncpg.connect(spread_dsn)
    async with late(spread_dsn, [(ids.stream_of(person := new_id()), 1, PersonErased(person=person))]) as (server,):
        locking = asyncio.create_task(connection.fetchrow(store.LOCK_HEAD))
        await asyncio.sleep(A_MOMENT)
        assert not locking.done()
        await server.commit()
        assert (await locking)["position"] == 2
    await connection.close()


async def test_what_was_counted_once_is_not_counted_again(spread_dsn: str) -> None:
    """After a batch of very many events, such as an import, the head's row says that all of it is there."""
    await add_tool(spread_dsn)
    connection = await asyncpg.connect(spread_dsn)
    async with patient(spread_dsn) as committer:
        await committer.submit(append(*((ids.stream_of(new_id()), PersonErased(person=new_id())) for _ in range(3))))
    assert await connection.fetchrow("select position, previous from log.head") == (4, 1)
    await connection.execute("update log.head set position = position + 20000")
    await connection.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
        " select gen_random_uuid(), 4 + n, now(), 1, 1, 'PersonErased', '{}' from generate_series(1, 20000) n"
    )
    await connection.fetch("select log.lock_whole()")
    assert await connection.fetchrow("select position, previous from log.head") == (20_004, 20_004)
    await connection.close()
