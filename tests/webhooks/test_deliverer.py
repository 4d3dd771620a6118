"""Deliveries: each message at least once, in order, signed, after every failure again, and none once the webhook is off."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from standardwebhooks import Webhook as Verifier

from events.commands.webhooks import (
    MOST,
    AddWebhook,
    RemoveWebhook,
    ReplayWebhook,
    SwitchWebhook,
    TooManyWebhooks,
    WebhookUnknown,
)
from services.webhooks.deliverer import LONGEST_DELAY, Deliverer, delay_after, due
from services.webhooks.leases import Claimed
from services.webhooks.messages import KINDS, Message, Planned
from services.webhooks.posting import Poster
from services.webhooks.spans import window_after
from services.webhooks.subscriptions import Webhook, new_secret, new_webhook, read_all, read_one, read_secrets
from tests.support.catalogs import new_id
from tests.support.log import go_back, patient, take_views_back
from tests.support.processes import PATIENCE
from tests.support.receiver import Receiver, receiving
from tests.support.webhooks import SPAN, START, VAULT, Connection, Past, a_tool, a_vote, happen, told

pytestmark = pytest.mark.postgres


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with receiving() as made:
        yield made


async def subscribe(dsn: str, url: str, position: int | None = 1) -> str:
    """Subscribe an address to everything, from a position on; return the subscription's id."""
    id_ = new_id()
    async with patient(dsn) as committer:
        await committer.submit(new_webhook(VAULT, id_, url, KINDS, "", "op"))
        if position is not None:
            await committer.submit(ReplayWebhook(id=id_, by="op", position=position))
    return id_


async def submit(dsn: str, command: Any) -> None:
    """Submit a command."""
    async with patient(dsn) as committer:
        await committer.submit(command)


@asynccontextmanager
async def delivering(dsn: str, **options: Any) -> AsyncIterator[Deliverer]:
    """Run a deliverer for a while."""
    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        made = Deliverer(pool, VAULT, Poster(allow_loopback=True), **{"most_failures": 3, **options})
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            made.stop()
            await task


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def until_row(connection: Connection, id_: str, holds: Callable[[Webhook], Any]) -> Webhook:
    """Wait until something holds of a subscription, and return it."""
    end = time.monotonic() + PATIENCE
    while not holds(found := await read_one(connection, id_)):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
    return found


async def a_past(dsn: str, connection: Connection, tools: int = 5) -> list[Message]:
    """Let tools have come to their verdicts, one after the other, and return all messages."""
    past: Past = []
    for n in range(tools):
        tool = a_tool(past, f"tool-{n}", START + n * SPAN)
        for _ in range(8):
            a_vote(past, START + n * SPAN, tool, "ship")
    await happen(dsn, connection, past)
    return await told(connection)


def arrived(receiver: Receiver) -> list[tuple[str, bytes]]:
    """Return the ids and bodies that came in."""
    return [(one.headers["webhook-id"], one.body) for one in receiver.received]


async def test_everything_is_told_in_order_and_again_by_position(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """What arrives is what the log says, signed; a replay from a position sends equal bytes under equal ids."""
    whole = await a_past(dsn, connection)
    id_ = await subscribe(dsn, receiver.url())
    wanted = [(one.id_for(id_), one.body) for one in whole]
    async with delivering(dsn):
        await until_row(connection, id_, lambda one: one.lag == 0)
        assert arrived(receiver) == wanted
        (secret,) = await read_secrets(connection, VAULT, id_)
        for one in receiver.received:
            Verifier(secret).verify(one.body, one.headers)
        receiver.received.clear()
        await submit(dsn, ReplayWebhook(id=id_, by="op", position=whole[2].position))
        await until_row(connection, id_, lambda one: one.lag == 0)
        assert arrived(receiver) == [pair for pair, one in zip(wanted, whole, strict=True) if one.position >= whole[2].position]


async def test_a_new_subscription_begins_at_the_head(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """Nothing of the past is told unless an operator asks for it."""
    await a_past(dsn, connection)
    id_ = await subscribe(dsn, receiver.url(), None)
    found = await read_one(connection, id_)
    assert found.lag == 0 and found.is_on and found.secrets == 1 and found.kinds == list(KINDS)
    async with delivering(dsn):
        await asyncio.sleep(1.5)
    assert receiver.connections == 0


async def test_secrets_are_sealed_and_two_sign_while_one_is_replaced(
    dsn: str, connection: Connection, receiver: Receiver
) -> None:
    """No table holds a secret; while it is replaced both verify, and it goes with its webhook's key."""
    whole = await a_past(dsn, connection, 1)
    id_ = await subscribe(dsn, receiver.url())
    await submit(dsn, await new_secret(connection, VAULT, id_, 24, "op"))
    new, old = await read_secrets(connection, VAULT, id_)
    rows = await connection.fetch(
        "select s::text as row from webhooks.secrets s union all select k::text from log.idempotency k"
    )
    assert not any(secret.removeprefix("whsec_") in row["row"] for secret in (new, old) for row in rows)
    async with delivering(dsn):
        await until(lambda: len(receiver.received) == len(whole))
    for secret in (new, old):
        Verifier(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    for _ in range(5):
        await submit(dsn, await new_secret(connection, VAULT, id_, 24, "op"))
    assert len(await read_secrets(connection, VAULT, id_)) == 4
    await submit(dsn, RemoveWebhook(id=id_, by="op"))
    assert await connection.fetchval("select count(*) from vault.keys where owner = $1", id_) == 0
    assert await read_all(connection) == []
    with pytest.raises(WebhookUnknown):
        await submit(dsn, RemoveWebhook(id=id_, by="op"))


async def test_a_webhook_goes_off_after_failures_in_a_row_and_on_again(
    dsn: str, connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why; nothing more is sent until an operator turns it on, and then nothing is missing."""
    monkeypatch.setattr("services.webhooks.deliverer.FIRST_DELAY", 0.05)
    whole = await a_past(dsn, connection)
    id_ = await subscribe(dsn, receiver.url())
    receiver.answer = lambda received: "ok" if len(receiver.received) <= 2 else "fails"
    async with delivering(dsn):
        off = await until_row(connection, id_, lambda one: not one.is_on)
        assert off.off_reason == "3 failures in a row, the last: it answered 500" and off.off_at and off.failures == 3
        count = len(receiver.received)
        await asyncio.sleep(1.5)
        assert len(receiver.received) == count == 5
        receiver.answer = lambda received: "ok"
        await submit(dsn, SwitchWebhook(id=id_, by="op", on=True))
        on = await until_row(connection, id_, lambda one: one.lag == 0)
    assert on.is_on and on.failures == 0 and on.failed is None
    assert list(dict.fromkeys(arrived(receiver))) == [(one.id_for(id_), one.body) for one in whole]


async def test_a_server_that_is_gone_turns_its_webhook_off_at_once(
    dsn: str, connection: Connection, receiver: Receiver
) -> None:
    """410 is a server's way to unsubscribe."""
    await a_past(dsn, connection, 1)
    id_ = await subscribe(dsn, receiver.url("gone"))
    async with delivering(dsn):
        off = await until_row(connection, id_, lambda one: not one.is_on)
    assert off.off_reason == "it is gone for good (410)" and receiver.connections == 1


async def test_a_server_is_given_the_time_that_it_asks_for(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """A Retry-After of two hours is heeded, though the first attempt after a failure would come in seconds."""
    await a_past(dsn, connection, 1)
    id_ = await subscribe(dsn, receiver.url("waits"))
    async with delivering(dsn):
        failed = await until_row(connection, id_, lambda one: one.failures)
    assert failed.next_attempt_at is not None and failed.failed_at is not None
    assert 7000 < (failed.next_attempt_at - failed.failed_at).total_seconds() <= 7201


def test_delays_double_and_have_a_bound() -> None:
    """From five seconds to six hours, a quarter more or less; a server may ask for a day, and for no more."""
    assert [delay_after(n, None, 0.5) for n in (1, 2, 3)] == [5, 10, 20]
    assert (delay_after(1, None, 0), delay_after(1, None, 1)) == (3.75, 6.25)
    assert delay_after(10_000, None, 0.5) == LONGEST_DELAY
    assert (delay_after(1, 60, 0.5), delay_after(1, 1e12, 0.5)) == (60, 86400)


async def test_a_silent_server_keeps_nobody_else_waiting(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """While thirty webhooks wait for servers that say nothing, another has all its messages."""
    whole = await a_past(dsn, connection, 2)
    for _ in range(MOST - 2):
        await subscribe(dsn, receiver.url("silent"))
    id_ = await subscribe(dsn, receiver.url("ok"))
    async with delivering(dsn):
        await until_row(connection, id_, lambda one: one.lag == 0)
        assert sum(one.path == "/ok" for one in receiver.received) == len(whole)
        assert all(one.failures == 0 for one in await read_all(connection))
        for task in receiver.tasks:
            task.cancel()
    await subscribe(dsn, receiver.url("ok"))
    with pytest.raises(TooManyWebhooks):
        await subscribe(dsn, receiver.url("ok"))


async def test_after_off_nothing_arrives(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """What was in flight ends; then the webhook stands still with its cursor, whatever happens."""
    await a_past(dsn, connection, 12)
    id_ = await subscribe(dsn, receiver.url("late"))
    async with delivering(dsn):
        await until(lambda: receiver.received)
        await submit(dsn, SwitchWebhook(id=id_, by="op", on=False))
        off = await until_row(connection, id_, lambda one: not one.in_flight)
        count = len(receiver.received)
        await asyncio.sleep(1.5)
    assert len(receiver.received) == count < 24
    assert not off.is_on and off.off_reason == "op turned it off" and off.lag > 0


def test_the_cursor_stands_between_messages_of_one_position() -> None:
    """Of a position with several messages those that were told are passed over, and no others."""
    planned = [Planned(p, kind, "", subject, START) for p, kind, subject in [
        (3, "settled.changed", "a"), (3, "verdict.changed", "a"), (3, "verdict.changed", "b"), (5, "review.waits", "c"),
    ]]  # fmt: skip
    claimed = Claimed("id", "url", ["settled.changed", "verdict.changed"], 2, 1, 0)
    assert [(one.subject, position, part) for one, position, part in due(planned, claimed)] == [("a", 2, 2), ("b", 2, 3)]
    whole = Claimed("id", "url", KINDS, 3, 0, 0)
    assert [(one.subject, position, part) for one, position, part in due(planned, whole)] == [("c", 4, 1)]


async def test_two_deliverers_never_send_the_same_at_a_time(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """Side by side they send each message once, in order."""
    whole = await a_past(dsn, connection, 8)
    id_ = await subscribe(dsn, receiver.url())
    async with delivering(dsn), delivering(dsn):
        await until_row(connection, id_, lambda one: one.lag == 0)
    assert arrived(receiver) == [(one.id_for(id_), one.body) for one in whole]


def test_the_command_that_adds_a_webhook_is_repeatable() -> None:
    """Its receipt is the subscription's id, and no secret."""
    made = new_webhook(VAULT, "AaIBaD4Jdt2r0cFH3ftnxQ", "https://example.com/", KINDS, "", "op")
    assert isinstance(made, AddWebhook) and "whsec_" not in repr(made)


async def test_what_cannot_be_made_here_waits_and_is_said(
    dsn: str, connection: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of a later release is no fault of the server's: the webhook stays on, says why it waits, and loses nothing."""
    monkeypatch.setattr("services.webhooks.deliverer.OWN_FAULT_SECONDS", 1.0)
    whole = await a_past(dsn, connection, 1)
    id_ = await subscribe(dsn, receiver.url())
    await connection.execute("alter table log.events disable trigger events_append_only")
    newer = "update log.events set schema_version = $1 where type = 'ToolAdded'"
    await connection.execute(newer, 99)
    async with delivering(dsn):
        waits = await until_row(connection, id_, lambda one: one.failures >= 4)
        assert waits.is_on and waits.failed == "its message can't be made here: UnknownEvent"
        await connection.execute(newer, 1)
        await until_row(connection, id_, lambda one: one.lag == 0)
    assert arrived(receiver) == [(one.id_for(id_), one.body) for one in whole]


async def test_a_cursor_follows_a_log_that_went_back(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """What has the lost positions now is told, under other ids."""
    await a_past(dsn, connection, 2)
    id_ = await subscribe(dsn, receiver.url(), None)
    await connection.execute("update webhooks.subscriptions set position = 1000000")
    async with delivering(dsn):
        found = await until_row(connection, id_, lambda one: one.position < 1000)
    assert found.position == 18


async def test_a_cursor_that_a_new_history_has_passed_goes_back(dsn: str, connection: Connection, receiver: Receiver) -> None:
    """The log alone was restored and has grown beyond the cursor since: what has the lost positions now is told."""
    await a_past(dsn, connection, 2)
    id_ = await subscribe(dsn, receiver.url(), 1)
    async with delivering(dsn):
        await until_row(connection, id_, lambda one: one.lag == 0)
    await go_back(connection, 9)
    await take_views_back(connection)
    past: Past = []
    tool = a_tool(past, "tool-of-another-history", START + 7 * SPAN)
    for _ in range(20):
        a_vote(past, START + 7 * SPAN, tool, "skip")
    await happen(dsn, connection, past)
    receiver.received.clear()
    async with delivering(dsn):
        await until_row(connection, id_, lambda one: one.lag == 0)
    new = [(one.id_for(id_), one.body) for one in await told(connection) if one.position > 9]
    assert new and arrived(receiver) == new


async def test_positions_of_another_history_are_another_window(dsn: str, connection: Connection) -> None:
    """A plan that a deliverer keeps is of the events that it was made of, though others take their positions and span."""
    past: Past = []
    tool = a_tool(past, "alpha", START)
    a_vote(past, START, tool, "ship")
    await happen(dsn, connection, past)
    before = await window_after(connection, 0, 2)
    await go_back(connection, 1)
    await take_views_back(connection)
    past.clear()
    a_vote(past, START + SPAN / 5, tool, "skip")
    await happen(dsn, connection, past)
    after = await window_after(connection, 0, 2)
    assert before is not None and after is not None
    assert (before.after, before.until, before.begins) == (after.after, after.until, after.begins) and before != after
