"""A part of the log that is made while a statement is planned is read by whoever keeps what it read, and soon by all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from events.erasure import PersonErased, person_stream
from events.log import parts, postgres
from events.log.committer import Committer
from events.subscribers import SubscriptionRequested, Unsubscribed, stream
from services.integrity import decisions
from services.person import notes
from services.proof import signer
from services.purge import follower
from services.web.erased import ErasedVisitors
from services.webhooks import desk
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append
from tests.support.parts import make_small
from tests.support.runners import until

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PART = 20
CUSTOM = 5
"""So often the server plans a statement for its arguments before it makes a plan for any."""
WAITING = "select count(*) from pg_locks where not granted and relation = 'log.events_0'::regclass"
OF_STREAM = "select count(*) from log.of_stream($1)"

Session = "asyncpg.Connection[Any] | asyncpg.Pool[Any]"
Open = Callable[[str], Awaitable[Any]]


async def make_part_meanwhile(dsn: str, connection: "asyncpg.Connection[Any]", ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until the server makes a plan for any arguments; while it makes that, make a part."""
    for _ in range(CUSTOM):
        await ask()
    async with servers.locked(dsn, "lock table log.events_0 in access exclusive mode"):
        asking = asyncio.ensure_future(ask())

        async def waits() -> bool:
            return bool(await connection.fetchval(WAITING))

        await until(waits)
        await connection.execute("select log.make_room($1)", 2 * PART)
    await asking


async def fill(committer: Committer) -> None:
    """Append until the first part is full."""
    await add_tools(committer, *(f"tool-{n}" for n in range(PART)))


@pytest.fixture
async def small(connection: Any) -> Any:
    """A connection to an empty log with one small part."""
    await make_small(connection, PART)
    return connection


async def test_an_erasure_is_heard_of_in_a_part_that_was_made_meanwhile(dsn: str, small: Any, committer: Committer) -> None:
    """A process that reads erasures on from its place passes over none."""
    async with postgres.pool(dsn, "web", size=1, seconds=5) as pool:
        erased = ErasedVisitors(pool)
        await make_part_meanwhile(dsn, small, erased.read_on)
        await fill(committer)
        visitor = new_id()
        await committer.submit(append((person_stream(visitor), PersonErased(person=visitor))))
        await erased.read_on()
        assert visitor in erased


async def test_a_withdrawal_is_heard_of_in_a_part_that_was_made_meanwhile(dsn: str, small: Any, committer: Committer) -> None:
    """Whether a reader may be sent mail is read from every part."""
    reader = new_id()
    requested = SubscriptionRequested(subscriber=reader, round=1, form="0000", address="sealed", categories=[])
    await committer.submit(append((stream(reader), requested)))
    async with postgres.pool(dsn, "worker", size=1, seconds=5) as pool:

        async def status() -> object:
            return await pool.fetchval("select status from newsletter.subscriber($1)", reader)

        await make_part_meanwhile(dsn, small, status)
        await fill(committer)
        await committer.submit(append((stream(reader), Unsubscribed(subscriber=reader))))
        assert await status() == "unsubscribed"


@pytest.mark.parametrize(
    "open_", [desk.pool, decisions.connect, follower.connect, notes.connect, signer.connect], ids=lambda o: o.__module__
)
async def test_whoever_keeps_what_it_read_plans_anew(open_: Open, dsn: str, small: Any, committer: Committer) -> None:
    """Webhooks, corrections, purges, notes of erasures and the signer keep a place in the log, and pass over no part of it."""
    session = await open_(dsn)
    reader = stream(new_id())
    await make_part_meanwhile(dsn, small, lambda: session.fetchval(OF_STREAM, reader))
    await fill(committer)
    await committer.submit(append((reader, Unsubscribed(subscriber=new_id()))))
    assert await session.fetchval(OF_STREAM, reader) == 1
    await session.close()


async def test_a_kept_plan_reads_a_part_that_was_made_meanwhile_once_it_is_announced(
    dsn: str, small: Any, committer: Committer
) -> None:
    """A plan of any other session may pass over the part until the clock has announced it, once nobody plans from before it."""
    async with postgres.pool(dsn, "web", size=1, seconds=5) as pool:
        reader = stream(new_id())
        await make_part_meanwhile(dsn, small, lambda: pool.fetchval(OF_STREAM, reader))
        await fill(committer)
        await committer.submit(append((reader, Unsubscribed(subscriber=new_id()))))
        assert await pool.fetchval(OF_STREAM, reader) == 0, "the server has changed: nothing needs to be announced"
        await parts.announce(small)
        assert await pool.fetchval(OF_STREAM, reader) == 1


async def test_a_part_is_announced_until_nobody_reads_from_before_it(dsn: str, small: Any) -> None:
    """While somebody reads who may have planned before the part was there, the next call announces it again; then once."""
    await parts.make_room(small, 2 * PART)
    async with servers.locked(dsn, "lock table log.events in access share mode"):
        assert await parts.announce(small, patience=0) == 2
        assert await parts.announce(small, patience=0) == 2
    assert await parts.announce(small) == 2
    assert await parts.announce(small) == 0
    await parts.make_room(small, 3 * PART)
    assert await parts.announce(small) == 1
