"""A log that went back, by a restored backup or a lagging standby: whoever knew more notices, forgets it and says so."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from events.ballots import Choice
from events.catalog import ToolNotListed
from events.commands.ballots import CastVote
from events.erasure import PersonErased, person_stream
from events.log import history
from events.log.committer import Committer
from projections.registry import PROJECTIONS
from services.log_watch import FILE, LogWatch
from services.proof.checkpoint import Checkpoint
from services.proof.published import Published
from services.web.card_cache import Cards
from services.web.erased import ErasedVisitors
from services.web.http.networks import LOCAL
from services.web.live import Live
from services.web.public_tree import PublicTree
from tests.support import servers
from tests.support.catalogs import new_id, tool
from tests.support.log import add_tools, append, go_back, patient, take_views_back
from tests.support.runners import CARDS, Connection, at_head, catch_up_all, checkpoint, runner, running, until
from tests.support.settings import OPERATOR, settings
from tests.support.shell import Shell
from tests.support.sites import client

GONE = "history: the log went back from 3 to 1: 2 positions are gone"
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR.token}"}


async def cast(committer: Committer, slug: str, *choices: Choice) -> int:
    """Vote on a tool, each time as another voter; return the last position."""
    position = 0
    for choice in choices:
        position = (await committer.submit(CastVote(new_id(), slug, choice))).position or 0
    return position


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database."""
    return Shell(tmp_path / "home", dsn, valkey_url)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """A pool on the test's database."""
    async with asyncpg.create_pool(dsn, min_size=0, max_size=3) as pool:
        yield pool


async def test_a_process_that_slept_while_the_log_went_back_and_on_has_the_right_listing(
    dsn: str, connection: Connection
) -> None:
    """Lost tools take no vote and new ones do, though the log is longer than when the process last looked."""
    async with patient(dsn) as sleeper, patient(dsn) as other:
        await add_tools(other, "kept")
        await add_tools(other, "lost")
        known = await cast(sleeper, "lost", "ship")
        await go_back(connection, 1)
        async with patient(dsn) as newer:
            await add_tools(newer, "new")
            await cast(newer, "kept", *["ship"] * 5)
        assert await connection.fetchval("select position from log.head") > known
        with pytest.raises(ToolNotListed):
            await cast(sleeper, "lost", "ship")
        await cast(sleeper, "new", "ship")
        await cast(sleeper, "kept", "ship")
        with pytest.raises(ToolNotListed):
            await cast(other, "lost", "ship")
    rewind = await history.unanswered(connection)
    assert rewind is not None and (rewind.known, rewind.kept, rewind.gone) == (3, 1, 2)
    assert str(rewind) == "the log went back from 3 to 1: 2 positions are gone"
    assert await connection.fetchval("select paused_at from newsletter.schedule") is not None


async def test_what_others_appended_is_no_rewind(dsn: str, connection: Connection) -> None:
    """Processes that append in turn take each other's events for what they are."""
    async with patient(dsn) as one, patient(dsn) as two:
        await add_tools(one, "a")
        for _ in range(5):
            await cast(two, "a", "ship")
            await cast(one, "a", "skip")
        await add_tools(two, "b")
        await cast(one, "b", "ship")
    assert await history.unanswered(connection) is None


async def test_cards_etags_and_viewers_follow_the_log_back(
    dsn: str, connection: Connection, pool: "asyncpg.Pool[Any]", committer: Committer
) -> None:
    """Cards that last looked before the log went back and on are read again; a known ETag is no 304, a viewer is told anew."""
    await add_tools(committer, "a", "b")
    await catch_up_all(dsn)
    await cast(committer, "a", "ship", "ship", "skip")
    await catch_up_all(dsn)
    cards = Cards(pool)
    live = Live(cards, 100)
    before = (await cards.find(["a", "b"]))["a"]
    answer = cards.answer(before)
    assert answer.answer(answer.etag).status == 304
    last = (before.position, cards.rewinds)
    await go_back(connection, 2)
    await take_views_back(connection)
    await cast(committer, "a", "skip", "skip", "ship")
    await catch_up_all(dsn)
    await cards.refresh()
    found = await cards.find(["a", "b"])
    assert (found["a"].position, found["a"].ship, found["a"].skip) == (before.position, 1, 2)
    assert cards.answer(found["a"]).answer(answer.etag).status == 200
    assert set(live.join(found, last, LOCAL)._pending) == {found["a"].tool, found["b"].tool}
    assert set(live.join(found, (found["a"].position, cards.rewinds), LOCAL)._pending) == set()


async def test_an_erasure_at_a_position_that_was_given_out_before_is_known(
    connection: Connection, pool: "asyncpg.Pool[Any]", committer: Committer
) -> None:
    """A process that slept while the log went back and on knows who was erased in the new history, and whom it knew already."""
    known, person = new_id(), new_id()
    await add_tools(committer, "a")
    erased = ErasedVisitors(pool)
    erased.add(known)
    await cast(committer, "a", "ship", "ship", "skip")
    await erased.read_on()
    lost = await history.mark_of_head(connection)
    assert lost is not None
    await go_back(connection, 1)
    await history.note(connection, lost, "a test")
    await committer.submit(append((person_stream(person), PersonErased(person=person))))
    await cast(committer, "a", "ship", "ship", "skip", "skip")
    await erased.read_on()
    assert known in erased and person in erased


async def test_kept_tiles_are_of_this_history(pool: "asyncpg.Pool[Any]") -> None:
    """What an API process has read of the public log is forgotten when the log went back, and kept while it grows."""
    tree = PublicTree(pool)
    one = Published(1, Checkpoint("o", 5, b"r", "n"), "k", None)
    tree._take([one])
    tree._tiles[0, 0] = b"tile"
    tree._take([replace(one, checkpoint=Checkpoint("o", 6, b"r", "n"))])
    assert tree._tiles
    tree._take([replace(one, rewinds=1)])
    assert not tree._tiles


async def test_a_view_that_was_ahead_of_the_log_halts_until_it_is_replayed(
    dsn: str, connection: Connection, committer: Committer, shell: Shell
) -> None:
    """A log restored under views of now: they halt, also once the log has passed them, and `replay` mends them."""
    await add_tools(committer, "a")
    await cast(committer, "a", "ship", "ship", "ship")
    async with running(*(runner(dsn, p) for p in PROJECTIONS)):
        await until(lambda: at_head(connection))
        await go_back(connection, 2)
        await until(lambda: all_halted(connection))
        await cast(committer, "a", *["skip"] * 5)
        assert await all_halted(connection)
        said = shell("status").out
        assert "The log went back from 4 to 2: 2 positions are gone, and the newsletter is held" in said
        assert "cards halted at position 4, which was another event when the view took it" in said
        shell("replay", status=0)
        await until(lambda: at_head(connection))
        shell("verify", status=0)
        assert not await all_halted(connection)
    assert await connection.fetchval(f"select (ship, skip) = (1, 5) from {CARDS.schema}.tallies")  # noqa: S608
    shell("digest", "resume", status=0)
    assert "went back" not in shell("status").out


@pytest.mark.parametrize("kept_in", ["the home folder", "Valkey"])
async def test_a_worker_that_starts_after_a_restore_holds_the_newsletter(
    connection: Connection,
    pool: "asyncpg.Pool[Any]",
    committer: Committer,
    valkey_url: str,
    tmp_path: Path,
    kept_in: str,
) -> None:
    """Nothing that ran remembers the lost events, but a mark was kept outside the database; and only this log is held to it."""
    await add_tools(committer, "a")
    await cast(committer, "a", "ship", "ship")
    async with Redis.from_url(valkey_url) as valkey:
        await LogWatch(pool, valkey, tmp_path).look()
        if kept_in == "Valkey":
            (tmp_path / FILE).unlink()
        else:
            for key in await valkey.keys("ballotpress:log:*"):
                await valkey.delete(key)
        await LogWatch(pool, valkey, tmp_path).look()
        assert await history.unanswered(connection) is None
        await go_back(connection, 1)
        await LogWatch(pool, valkey, tmp_path).look()
        assert str(await history.unanswered(connection)) == "the log went back from 3 to 1: 2 positions are gone"
        assert await connection.fetchval("select paused_at is not null from newsletter.schedule")
        await history.answer(connection)
        await LogWatch(pool, valkey, tmp_path).look()
        assert await history.unanswered(connection) is None


async def test_a_whole_restored_database_is_said_until_an_operator_answers(
    dsn: str, postgres: servers.Postgres, valkey_url: str, shell: Shell
) -> None:
    """The API goes on by itself: lost tools are 404, readiness and metrics say what is gone, `digest resume` ends that."""
    async with client(settings(dsn, valkey_url)) as site, running(*(runner(dsn, p) for p in PROJECTIONS)):
        token = (await site.post("/v1/visitors")).json()["token"]

        async def add(*slugs: str) -> None:
            catalog = {"tools": [tool(slug) for slug in slugs]}
            assert (await site.post("/v1/ops/catalog", json=catalog, headers=AS_OPERATOR)).status_code == 200

        async def vote(slug: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return (await site.put(f"/v1/tools/{slug}/vote", json={"choice": "ship"}, headers=headers)).status_code

        async def voted(slug: str, status: int) -> None:
            await until(lambda: _is(vote(slug), status))

        await until(lambda: _is_ready(site))
        await add("kept")
        await servers.save(postgres, dsn)
        await until(lambda: _is_ready(site))
        await add("lost")
        await voted("lost", 200)
        await servers.restore(postgres, dsn)
        await voted("lost", 404)
        await add("new")
        await voted("new", 200)
        await until(lambda: _is_ready(site, {"status": "degraded", "reasons": [GONE]}))
        assert 'ballotpress_log_positions{state="gone"} 2.0' in (await site.get("/metrics")).text
        shell("digest", "resume", status=0)
        await until(lambda: _is_ready(site))


async def _is(status: Awaitable[int], wanted: int) -> bool:
    return await status == wanted


async def _is_ready(site: httpx.AsyncClient, said: Any = MappingProxyType({"status": "ok"})) -> bool:
    return bool((await site.get("/health/ready")).json() == said)


async def all_halted(connection: Connection) -> bool:
    """Tell whether every view has halted."""
    states = [await checkpoint(connection, p.schema) for p in PROJECTIONS]
    return all((state["halted_error"] or "").startswith("LogWentBack") for state in states)
