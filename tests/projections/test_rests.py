"""What the rests between windows promise: fewer and larger windows of a log that grows fast, and at once for who waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from events.log.tasks import end
from projections.engine import notify
from projections.engine.runner import Rests
from projections.runner import REST, RESTS
from services.web.ahead import Ahead, telling
from services.web.site import RING_SECONDS
from services.web.wait import ViewProgress
from tests.support.histories import VOTERS, History, add_three_tools
from tests.support.log import patient
from tests.support.runners import CARDS, at_head, runner, running, until

FOR_EVER = Rests(0.0, an_event=3600, most=3600)


@pytest.mark.parametrize(("events", "seconds"), [(0, 0.08), (1, 0.08), (20, 0.2), (200, 0.5), (20_000, 0.5)])
def test_a_view_rests_the_longer_the_more_came(events: int, seconds: float) -> None:
    """A vote by itself is followed at once; of a flood a window takes in half a second."""
    assert Rests(0.08, an_event=0.01, most=0.5).after(events) == pytest.approx(seconds)


def test_cards_rest_no_longer_however_many_came() -> None:
    """Without seconds for an event a rest is what it is at least."""
    assert Rests(0.03).after(20_000) == 0.03


async def test_a_rest_ends_when_somebody_waits(dsn: str, connection: Any, committer: Committer) -> None:
    """A view that rests takes nothing in, though it was woken; told to hurry, it goes on."""
    await add_three_tools(committer)
    one = runner(dsn, rests=FOR_EVER)
    async with running(one):
        await until(lambda: at_head(connection, [CARDS.schema]))
        await History(committer).vote(VOTERS[0], 0, "ship")
        one.wake.set()
        await asyncio.sleep(0.3)
        assert not await at_head(connection, [CARDS.schema])
        one.hurry.set()
        await until(lambda: at_head(connection, [CARDS.schema]))


async def test_a_view_that_is_far_behind_does_not_rest(dsn: str, connection: Any, committer: Committer) -> None:
    """While there is more than a window holds, window follows window."""
    await add_three_tools(committer)
    async with running(runner(dsn, rests=FOR_EVER, largest=1)):
        await until(lambda: at_head(connection, [CARDS.schema]))


async def test_who_waits_for_the_views_hurries_them(dsn: str, committer: Committer) -> None:
    """Waiting for a position that the views haven't reached asks them to hurry."""
    await add_three_tools(committer)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        progress, asked = ViewProgress(pool), asyncio.Event()
        progress.hurry = asked.set
        waiting = asyncio.create_task(progress.reach(3))
        await asked.wait()
        await end(waiting)


async def test_views_rest_between_ballots_alone(dsn: str) -> None:
    """The bell of the log tells of anything but a ballot that somebody may wait for it."""
    async with heard(dsn) as (bell, words), patient(dsn, on_commit=telling(Ahead(), bell)) as committer:
        await add_three_tools(committer)
        bell.say("tools")
        assert notify.HURRY in await until_said(words, "tools")
        await History(committer).vote(VOTERS[0], 0, "ship")
        bell.say("vote")
        assert notify.HURRY not in await until_said(words, "vote")


async def test_a_bell_keeps_its_pace_unless_it_has_words(dsn: str) -> None:
    """Ballots alone are announced now and then, together; that somebody waits, at once."""
    rings = asyncio.Queue[None]()
    listening = asyncio.create_task(notify.listen(dsn, notify.LOG, lambda: rings.put_nowait(None)))
    await rings.get()  # it has begun to listen
    async with heard(dsn, pace=3600) as (bell, words):
        bell.ring()
        await rings.get()
        bell.ring()
        await asyncio.sleep(0.1)
        assert rings.empty()
        bell.hurry()
        await rings.get()
        assert await words.get() == notify.HURRY
    await end(listening)


def test_every_view_rests_for_longer_than_ballots_wait_to_be_announced() -> None:
    """So no view comes later to a ballot: what was announced since its last window wakes it after its rest."""
    assert all(rests.least > RING_SECONDS for rests in (REST, *RESTS.values()))


async def until_said(words: "asyncio.Queue[str]", last: str) -> list[str]:
    """Return all words up to the last one."""
    said: list[str] = []
    while last not in said:
        said += (await words.get()).split()
    return said


@asynccontextmanager
async def heard(dsn: str, pace: float = notify.LEAST_PACE) -> AsyncIterator[tuple[notify.Bell, "asyncio.Queue[str]"]]:
    """Ring a bell that is listened to: give it, and the words that were heard."""
    bell, words, listening = notify.Bell(dsn, notify.LOG, pace), asyncio.Queue[str](), asyncio.Event()
    tasks = [
        asyncio.create_task(bell.run()),
        asyncio.create_task(notify.listen(dsn, notify.LOG, listening.set, words.put_nowait)),
    ]
    await listening.wait()
    try:
        yield bell, words
    finally:
        await end(*tasks)
