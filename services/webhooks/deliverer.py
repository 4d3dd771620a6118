"""The deliverer of one worker: it sends each subscription's messages in the log's order, each until it is taken.

Every subscription is delivered by a task of its own, so that a slow server delays nobody else's messages. A process that is
killed leaves a lease that runs out: what it was sending is sent again.
"""

import asyncio
import logging
import random
import secrets as randomness
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, Final, cast

import msgspec
from asyncpg import Connection, Pool

from events.log import postgres
from events.log.tasks import end
from events.log.vault import Erased, SealBroken, Vault, VaultKeyMissing
from services.clock import now
from services.webhooks import messages, signing, spans
from services.webhooks.leases import SECONDS, Claimed, Leases
from services.webhooks.messages import Planned
from services.webhooks.posting import GONE, Poster, Reply
from services.webhooks.spans import Window
from services.webhooks.subscriptions import read_secrets

PACE: Final = 1.0
"""Seconds between two looks for what is due."""
CHUNK: Final = 100
"""Messages that are written out at a time."""
FIRST_DELAY: Final = 5.0
LONGEST_DELAY: Final = 6 * 3600.0
LONGEST_WAIT: Final = 24 * 3600.0
"""The longest that a server's Retry-After is heeded."""
OWN_FAULT_SECONDS: Final = 60.0
STOP_SECONDS: Final = 12.0
_PLANS_KEPT: Final = 4

logger = logging.getLogger(__name__)


def delay_after(failures: int, asked: float | None, chance: float) -> float:
    """Return the seconds to the next attempt after so many failures in a row: twice as long each time, a quarter more or less.

    `asked` is what the server's Retry-After says, `chance` a random number from 0 to 1.
    """
    backoff = min(FIRST_DELAY * 2.0 ** min(failures - 1, 30), LONGEST_DELAY) * (0.75 + chance / 2)
    return max(backoff, min(asked or 0.0, LONGEST_WAIT))


def due(planned: Sequence[Planned], claimed: Claimed) -> Iterator[tuple[Planned, int, int]]:
    """Return the messages behind a subscription's cursor, each with the cursor behind it."""
    wanted = (one for one in planned if one.position > claimed.position and one.kind in claimed.kinds)
    for position, group in groupby(wanted, key=lambda one: one.position):
        told = claimed.part if position == claimed.position + 1 else 0
        for part, one in enumerate(group, 1):
            if part > told:
                yield one, position - 1, part


class Deliverer:
    """Delivers webhooks between `run` and `stop`."""

    def __init__(
        self,
        database: "Pool[Any]",
        vault: Vault,
        poster: Poster,
        *,
        most_failures: int,
        lease_seconds: float = SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._vault = vault
        self._poster = poster
        self._most_failures = most_failures
        self._chance = chance
        self._leases = Leases(database, randomness.token_hex(8), lease_seconds)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._plans: dict[Window, asyncio.Task[list[Planned]]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Deliver until `stop`; whatever fails is logged, and tried again."""
        while not self._stopping.is_set():
            try:
                await self.turn()
            except postgres.UNAVAILABLE as error:
                logger.warning("webhooks wait for the database: %r", error)
            except Exception:
                logger.exception("delivering webhooks failed, trying again")
            try:
                async with asyncio.timeout(PACE):
                    await self._stopping.wait()
            except TimeoutError:
                pass
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=STOP_SECONDS)
        await end(*self._tasks.values(), *self._plans.values())

    def stop(self) -> None:
        """Begin nothing more; what is being sent is finished."""
        self._stopping.set()

    async def turn(self) -> None:
        """Take up what is due."""
        await self._leases.go_back()
        if not await self._leases.any_behind():
            return
        async with self._database.acquire() as connection:
            closed = await spans.closed(cast("Connection[Any]", connection))
        for id_ in await self._leases.claim(closed, self._tasks):
            self._tasks[id_] = task = asyncio.create_task(self._deliver(id_, closed))
            task.add_done_callback(lambda _, id_=id_: self._tasks.pop(id_))  # type: ignore[misc]

    async def _deliver(self, id_: str, closed: int) -> None:
        """Send a subscription all that is due, until one message isn't taken; then give it back."""
        try:
            while not self._stopping.is_set() and await self._next_window(id_, closed):
                pass
        except postgres.UNAVAILABLE as error:
            logger.warning("a webhook waits for the database: %r", error)
        except Exception as error:  # no fault of the server's, so it never turns the webhook off
            logger.exception("the webhook %s failed here", id_)
            why = f"its message can't be made here: {type(error).__name__}"
            await self._leases.fail(id_, why, OWN_FAULT_SECONDS, None)
        finally:
            with suppress(*postgres.FAILED):  # else the lease runs out
                await self._leases.release(id_)

    async def _next_window(self, id_: str, closed: int) -> bool:
        """Send the messages of the next window; return whether there may be another one."""
        if (claimed := await self._leases.hold(id_)) is None:
            return False
        planned = await self._planned(claimed.position, closed)
        if planned is None:
            return False
        window, lines = planned
        rest = list(due(lines, claimed))
        for first in range(0, len(rest), CHUNK):
            if not await self._send(claimed, rest[first : first + CHUNK]):
                return False
        await self._leases.advance(id_, window.until)
        return True

    async def _planned(self, position: int, closed: int) -> tuple[Window, Sequence[Planned]] | None:
        """Return the window after a position with its plan, which subscriptions at the same place share."""
        async with self._database.acquire() as connection:
            window = await spans.window_after(cast("Connection[Any]", connection), position, closed)
        if window is None:
            return None
        if window not in self._plans:
            while len(self._plans) >= _PLANS_KEPT:
                self._plans.pop(next(iter(self._plans)))
            self._plans[window] = asyncio.create_task(self._plan(window))
        try:
            return window, await asyncio.shield(self._plans[window])
        except BaseException:
            self._plans.pop(window, None)
            raise

    async def _plan(self, window: Window) -> list[Planned]:
        async with self._database.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            return await messages.plan(cast("Connection[Any]", connection), window)

    async def _send(self, claimed: Claimed, rest: Sequence[tuple[Planned, int, int]]) -> bool:
        """Send some messages one by one; return whether all were taken."""
        async with self._database.acquire() as connection:
            written = await messages.write(cast("Connection[Any]", connection), [one for one, _, _ in rest])
        try:
            secrets = await read_secrets(self._database, self._vault, claimed.id)
        except (Erased, SealBroken, VaultKeyMissing) as error:
            await self._failed(claimed, Reply(f"its secret can't be opened: {error}"))
            return False
        for message, (_, position, part) in zip(written, rest, strict=True):
            if message is None:
                continue
            if self._stopping.is_set() or (held := await self._leases.hold(claimed.id)) is None:
                return False
            reply = await deliver(self._poster, held.url, secrets, message.id_for(held.id), message.body)
            if reply.failed is not None:
                await self._failed(held, reply)
                return False
            await self._leases.told(claimed.id, position, part)
        return True

    async def _failed(self, claimed: Claimed, reply: Reply) -> None:
        """Record a failure; the webhook goes off after too many in a row, and at once if its server says that it is gone."""
        failures = claimed.failures + 1
        off = reply.failed if reply.status == GONE else None
        if off is None and failures >= self._most_failures:
            off = f"{failures} failures in a row, the last: {reply.failed}"
        delay = delay_after(failures, reply.retry_after, self._chance())
        logger.log(logging.ERROR if off else logging.INFO, "the webhook %s failed: %s", claimed.id, off or reply.failed)
        await self._leases.fail(claimed.id, reply.failed or "", delay, off)


async def deliver(poster: Poster, url: str, secrets: Sequence[str], message: str, body: bytes) -> Reply:
    """Send a signed message, and return what came of it."""
    return await poster.post(url, signing.headers(secrets, message, int(now().timestamp()), body), body)


def trial(subscription: str, kinds: Sequence[str], fresh: str) -> tuple[str, bytes]:
    """Return the id and the body of a message that tells nothing, to try a subscription; `fresh` is a new id."""
    body = {"type": "webhook.test", "timestamp": now(), "data": {"subscription": subscription, "kinds": kinds}}
    return f"msg_test_{fresh}", msgspec.json.encode(body)
