"""Cards read at replicas never go back, unless the primary says that the log did."""

from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log import history
from events.log.committer import Committer
from projections.cards import State, changes
from services.replicas.once import read_standings
from services.replicas.readers import Readers, replicas_of
from services.web.card_cache import Cards
from services.web.wait import ViewProgress, ViewsBehind
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.log import add_tools, go_back, take_views_back
from tests.support.replicas import Cluster, Open, Replica, reading
from tests.support.runners import catch_up_all, until
from tests.support.settings import settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def vote(committer: Committer, dsn: str, votes: int) -> None:
    """Vote on the tool `a`, and bring the views up to that."""
    for _ in range(votes):
        await committer.submit(CastVote(new_id(), "a", "ship"))
    await catch_up_all(dsn)


async def shown(cards: Cards) -> int:
    """Return how many votes the card of `a` shows now."""
    await cards.refresh()
    return (await cards.find(["a"]))["a"].ship


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """A pool at the primary."""
    async with asyncpg.create_pool(dsn, min_size=0, max_size=3) as pool:
        yield pool


async def elsewhere(readers: Readers) -> bool:
    """Tell whether a replica is read from."""
    return readers.are_elsewhere


async def says(readers: Readers, why: str) -> bool:
    """Tell whether each replica is left out for this reason."""
    return all(one.why is not None and why in one.why for one in readers.standings())


async def _shows(cards: Cards, votes: int) -> bool:
    return await shown(cards) == votes


async def test_a_replica_behind_is_no_log_that_went_back(
    ours: Cluster, dsn: str, committer: Committer, pool: "asyncpg.Pool[Any]"
) -> None:
    """What a reader waits for is read at the primary, and the replicas not before they have it: nobody is alarmed."""
    await add_tools(committer, "a")
    await vote(committer, dsn, 3)
    await ours.in_step()
    async with reading(dsn, replicas_of(ours.url(servers.name_of(dsn)), 1000)) as made:
        await until(lambda: elsewhere(made))
        cards = Cards(pool, None, made)
        assert await shown(cards) == 3
        for replica in ours.replicas:
            await replica.says("select pg_wal_replay_pause()")
        await vote(committer, dsn, 2)
        assert await shown(cards) == 3
        made.await_less(cards.position + 1)
        assert await shown(cards) == 5
        assert not made.are_elsewhere
        for replica in ours.replicas:
            await replica.says("select pg_wal_replay_resume()")
        await until(lambda: elsewhere(made))
        assert await shown(cards) == 5
        assert cards.rewinds == 0 and await history.unanswered(pool) is None


@pytest.mark.parametrize("has_log", [False, True])
async def test_cards_stay_as_they_are_where_nobody_can_tell(
    has_log: bool, ours: Cluster, dsn: str, committer: Committer, pool: "asyncpg.Pool[Any]"
) -> None:
    """With the primary away, and a replica left that has less of the log or of the views, cards keep what they showed."""
    first, late = ours.replicas
    await add_tools(committer, "a")
    await vote(committer, dsn, 1)
    if has_log:
        await committer.submit(CastVote(new_id(), "a", "ship"))
    await ours.in_step()
    await late.delay("1h")
    await vote(committer, dsn, 0 if has_log else 1)
    nowhere = dsn.replace(str(ours.primary.folder), "/nowhere")
    async with reading(nowhere, replicas_of(ours.url(servers.name_of(dsn)), 1)) as made:
        cards = Cards(pool, None, made)
        with late.frozen():
            await until(lambda: _reads_at(made, first))
            await until(lambda: _shows(cards, 2))
            first.kill()
        await until(lambda: _reads_at(made, late))
        assert (await changes(made, State("", 0), 100)).state.position < cards.position
        assert await shown(cards) == 2
        assert cards.rewinds == 0 and await history.unanswered(pool) is None


async def _reads_at(readers: Readers, replica: Replica) -> bool:
    return [one.name.startswith(str(replica.folder)) for one in readers.standings() if one.used] == [True]


async def test_a_log_that_went_back_is_noticed_at_a_replica_that_followed(
    ours: Cluster, readers: Open, dsn: str, committer: Committer, pool: "asyncpg.Pool[Any]"
) -> None:
    """The primary was asked, and says so: cards are read anew, and the newsletter is held."""
    await add_tools(committer, "a")
    await vote(committer, dsn, 5)
    await ours.in_step()
    async with readers() as made:
        await until(lambda: elsewhere(made))
        cards = Cards(pool, None, made)
        assert await shown(cards) == 5
        async with pool.acquire() as own:
            connection = cast("asyncpg.Connection[Any]", own)
            await go_back(connection, 3)
            await take_views_back(connection)
        await catch_up_all(dsn)
        await ours.in_step()
        await until(lambda: _shows(cards, 2))
        assert await shown(cards) == 2 and cards.rewinds == 1
        assert (found := await history.unanswered(pool)) is not None and found.kept == 3


async def test_a_replica_that_holds_what_the_primary_lost_is_left(
    ours: Cluster, dsn: str, committer: Committer, connection: "asyncpg.Connection[Any]"
) -> None:
    """It didn't follow when a backup was put in the primary's place: what it shows is gone."""
    await add_tools(committer, "a")
    await vote(committer, dsn, 5)
    await ours.in_step()
    async with reading(dsn, replicas_of(ours.url(servers.name_of(dsn)), 1000)) as made:
        await until(lambda: elsewhere(made))
        for replica in ours.replicas:
            await replica.says("select pg_wal_replay_pause()")
        await go_back(connection, 3)
        await until(lambda: says(made, "make the replica anew"))
        assert not made.are_elsewhere


async def test_one_of_another_history_is_left(
    ours: Cluster, dsn: str, committer: Committer, connection: "asyncpg.Connection[Any]"
) -> None:
    """An old primary that follows without `pg_rewind` has all events but the next, and a longer log of changes.

    Nobody goes there, neither before the next event nor after it; `status` says so.
    """
    astray = ours.replicas[0]
    await add_tools(committer, "a")
    await vote(committer, dsn, 1)
    await ours.in_step()
    await astray.go_astray()
    url = ours.url(servers.name_of(dsn), astray)
    try:
        async with reading(dsn, replicas_of(url, 1)) as made:
            await until(lambda: says(made, "make the replica anew"))
            assert not made.are_elsewhere and made.counts["replica"] == 0
        await vote(committer, dsn, 1)
        async with reading(dsn, replicas_of(url, 1)) as made:
            await until(lambda: _reads_until(made, "make the replica anew"))
            assert made.counts["replica"] == 0
        (standing,) = await read_standings(settings(dsn, "redis://unused", read_database_url=url), connection)
        assert standing.why is not None and "make the replica anew" in standing.why
    finally:
        astray.make()


async def _reads_until(readers: Readers, why: str) -> bool:
    await readers.fetchval("select 1")
    return await says(readers, why)


async def test_views_that_are_behind_everywhere_send_nobody_to_the_primary(
    ours: Cluster, readers: Open, dsn: str, committer: Committer
) -> None:
    """While no projector runs the primary has no more to show than the replica: who waits there waits in vain, and alone."""
    await add_tools(committer, "a")
    await catch_up_all(dsn)
    await ours.in_step()
    async with readers() as made:
        await until(lambda: elsewhere(made))
        cast_at = (await committer.submit(CastVote(new_id(), "a", "ship"))).position
        before = made.counts["primary"]
        with pytest.raises(ViewsBehind):
            await ViewProgress(made, made).reach(cast_at)
        assert made.are_elsewhere and made.counts["primary"] == before
