"""Where public reads go: to a replica that is in step, else to the primary.

**What a process has shown, it never shows older.** It reads at one server at a time. It may go to the primary at any moment,
which is never behind; it goes to a replica only once that has replayed all that was to be seen at the primary, and reads wait
for that moment. A replica that lags, hangs, refuses, is promoted or has another history is left by itself, and taken again by
itself; what was being read there is read at the primary, so no reader sees an error of it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

import asyncpg
from asyncpg import Connection, Pool

from events.log import history, hosts, postgres
from events.log.reads import Reads
from services.replicas import look
from services.replicas.look import AtPrimary
from services.replicas.replica import LOOK_SECONDS, PACE_SECONDS, Replica, Standing, Written
from services.settings import Settings

T = TypeVar("T")

TURN_SECONDS: Final = 0.25
"""So long at most reads wait until a replica has what the primary showed."""
DRAIN_SECONDS: Final = 5.0
"""So long at most they wait for those that are under way at a primary that is slow."""
PAUSE_SECONDS: Final = 1.0
"""A replica that was left is not gone back to before so long."""
HURRY_SECONDS: Final = 0.02
"""The primary isn't hurried more often."""

# Beside what makes any server count as away: what a replica lacks that hasn't seen the last migration.
ELSEWHERE: Final = (*postgres.UNAVAILABLE, asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError)

logger = logging.getLogger(__name__)


class PrimaryLeft(Exception):
    """A read waits at a primary that doesn't answer, and reads have gone elsewhere."""


async def leave_as_it_is(connection: "Connection[Any]") -> None:
    """Leave a connection as it is: our statements set nothing, and asyncpg's reset costs a round trip each time."""


class Readers:
    """Reads of one process: like a pool, at the primary or at one of the replicas."""

    def __init__(self, dsn: str, primary: "Pool[Any]", replicas: Sequence[Replica]) -> None:
        self.replicas = replicas
        self.primary: AtPrimary | None = None
        self.counts = {"primary": 0, "replica": 0, "again": 0}
        """How many statements each was asked, and how many were asked again, at the other one."""
        self._primary = primary
        self._looks = postgres.pool(
            dsn, "looks", size=2, seconds=LOOK_SECONDS, connect_seconds=LOOK_SECONDS, reset=leave_as_it_is,
            synchronous_commit="local",
        )  # fmt: skip
        self._written = Written()
        self._used: Replica | None = None
        self._turned: asyncio.Event | None = None
        self._hurried = 0.0
        self._patience = TURN_SECONDS
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._left = asyncio.get_running_loop().create_future()
        self._ending: set[asyncio.Future[Any]] = set()

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """Return the rows of a statement."""
        return await self._ask(lambda pool: pool.fetch(query, *args))

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """Return the first row of a statement; None if there is none."""
        return await self._ask(lambda pool: pool.fetchrow(query, *args))

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Return the first value of a statement's first row; None if there is none."""
        return await self._ask(lambda pool: pool.fetchval(query, *args))

    @property
    def are_elsewhere(self) -> bool:
        """Whether reads go to a replica now."""
        return self._used is not None

    async def _ask(self, statement: "Callable[[Pool[Any]], Awaitable[T]]") -> T:
        while True:
            while self._turned is not None:
                await self._turned.wait()
            if (replica := self._used) is not None:
                try:
                    self.counts["replica"] += 1
                    return await replica.ask(statement)
                except ELSEWHERE as error:
                    if isinstance(error, ValueError) or (isinstance(error, TimeoutError) and self._used is replica):
                        raise  # an argument that doesn't fit, or a statement that is slow by itself
                    self._leave_for(replica, error)
            with suppress(PrimaryLeft):
                return await self._ask_primary(statement)

    async def _ask_primary(self, statement: "Callable[[Pool[Any]], Awaitable[T]]") -> T:
        """Return what the primary says. Raises PrimaryLeft once reads have gone elsewhere because it doesn't answer."""
        self.counts["primary"] += 1
        self._busy += 1
        self._idle.clear()
        asked = asyncio.ensure_future(statement(self._primary))
        try:
            await asyncio.wait((asked, self._left), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            self.counts["again"] += 1
            raise PrimaryLeft
        finally:
            self._let_end(asked)
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    def _let_end(self, asked: "asyncio.Future[Any]") -> None:
        """End a read without waiting for that: where a server hangs asyncpg waits for its word on it."""
        if not asked.done():
            asked.cancel()
            self._ending.add(asked)
            asked.add_done_callback(self._ended)

    def _ended(self, asked: "asyncio.Future[Any]") -> None:
        self._ending.discard(asked)
        if not asked.cancelled():
            asked.exception()  # nobody else hears of it

    def _leave_primary(self) -> None:
        """Have those who wait at the primary ask again, at the replica."""
        left, self._left = self._left, asyncio.get_running_loop().create_future()
        left.set_result(None)

    def _leave_for(self, replica: Replica, error: BaseException) -> None:
        """Leave a replica for an error of a statement there."""
        self.counts["again"] += 1
        is_gone = isinstance(error, (*postgres.SESSION_ENDED, OSError))
        self._leave(replica, f"{type(error).__name__} when it was read", is_gone=is_gone)

    def _leave(self, replica: Replica, why: str, *, is_gone: bool = False) -> None:
        """Read at the primary from now on; of a server that is gone, what waits for it is ended."""
        if self._used is not replica:
            return
        self._used = None
        replica.not_before = monotonic() + PAUSE_SECONDS
        logger.warning("the replica %s isn't read from for now: %s", replica.name, why)
        if is_gone:
            replica.cut()
        else:
            replica.leave()

    async def doubt(self) -> bool:
        """Read at the primary from now on, since a replica showed less than was shown before; False while there is none."""
        if self._used is None:
            return True
        with suppress(*postgres.FAILED):
            await self._in_time(self._looks.fetchval(look.HEAD))
            self._leave(self._used, "it has less than it had")
            return True
        return False

    async def hurry(self) -> None:
        """Have the primary send on what its views have committed: somebody waits for it at a replica."""
        if monotonic() < self._hurried + HURRY_SECONDS:
            return
        self._hurried = monotonic()
        with suppress(*postgres.FAILED):
            await self._in_time(look.hand_on(self._looks))

    async def ask_primary(self, ask: Callable[[Reads], Awaitable[T]]) -> T:
        """Return what the primary answers, wherever else is read. Raises TimeoutError if that takes long."""
        return await self._in_time(ask(self._looks))

    def await_less(self, position: int) -> None:
        """Read at the primary from now on, since its views have a position that those of the replica haven't."""
        if self._used is not None:
            self._leave(self._used, f"a reader waits for position {position}")

    async def _in_time(self, asked: Awaitable[T]) -> T:
        """Return what the primary says. Raises TimeoutError: where a server hangs asyncpg itself waits on."""
        async with asyncio.timeout(LOOK_SECONDS):
            return await asked

    def standings(self) -> list[Standing]:
        """Return how each replica stands."""
        return [replica.standing(self.primary) for replica in self.replicas]

    async def run(self) -> None:
        """Look at all servers, and choose, until cancelled."""
        await self._looks
        await self._look_at_primary()
        chosen = random.sample(self.replicas, len(self.replicas))  # so that processes share them
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_primary())
                for replica in chosen:
                    tasks.create_task(self._watch(replica))
        finally:
            self._used = None
            for replica in self.replicas:
                replica.close()
            self._looks.terminate()

    async def _watch_primary(self) -> None:
        while True:
            await asyncio.sleep(PACE_SECONDS)
            await self._look_at_primary()

    async def _look_at_primary(self) -> None:
        at = monotonic()
        try:
            self.primary = await self._in_time(look.at_primary(self._looks))
            self._written.note(at, self.primary.written)
        except (*postgres.FAILED, postgres.PoolerBetween):
            self.primary = None

    async def _watch(self, replica: Replica) -> None:
        while True:
            try:
                await self._look(replica)
            except Exception:  # whatever it is: this loop must live
                logger.exception("the replica %s can't be judged", replica.name)
            await asyncio.sleep(PACE_SECONDS)

    async def _look(self, replica: Replica) -> None:
        """Look at a replica; leave it, or go to it if nothing is read elsewhere."""
        before = self.primary
        await replica.look()
        lag = 0.0 if replica.at is None else self._written.lag(replica.at.replayed)
        lacks = replica.at is not None and look.lacks(replica.at, before)
        replica.judge(self.primary, lag, is_held=not lacks and await self._holds(replica))
        if replica.why is not None:
            self._leave(replica, replica.why, is_gone=replica.at is None)
        elif self._used is None and self._turned is None and self._may_go_to(replica):
            await self._turn_to(replica)

    async def _holds(self, replica: Replica) -> bool:
        """Return whether the primary has all that a replica has, and its last event; True while nobody can tell."""
        if self.primary is not None and replica.at is not None:
            with suppress(*postgres.FAILED):
                if look.is_ahead(replica.at, self.primary):
                    await self._look_at_primary()
                    if self.primary is None or look.is_ahead(replica.at, self.primary):
                        return self.primary is None
                return await self._in_time(history.holds(self._looks, replica.at.mark))
        return True

    def _may_go_to(self, replica: Replica) -> bool:
        """Tell whether reads may be had to wait for a replica: it wouldn't be in vain."""
        return monotonic() >= replica.not_before and (self.primary is None or replica.lag_seconds == 0)

    async def _turn_to(self, replica: Replica) -> None:
        """Read at a replica from now on, if it soon has all that was to be seen at the primary; reads wait for that."""
        self._turned = asyncio.Event()
        is_away = self.primary is None
        try:
            if not is_away:
                await self._drain()
            async with asyncio.timeout(TURN_SECONDS):
                if not is_away:
                    written, position = await look.hand_on(self._looks)
                    await replica.catch_up(written, position)
                await replica.begin(leave_as_it_is)
            if is_away:
                self._must_be_away(replica)
                self._leave_primary()
            self._used = replica
            logger.info("reads go to the replica %s", replica.name)
        except postgres.FAILED:
            replica.not_before = monotonic() + PAUSE_SECONDS
        finally:
            self._turned.set()
            self._turned = None

    def _must_be_away(self, replica: Replica) -> None:
        """Check that the primary hasn't come back: it may have shown what a replica lacks. Raises ConnectionError."""
        if self.primary is not None:
            replica.leave()
            raise ConnectionError("the primary is back")

    async def _drain(self) -> None:
        """Wait until no read is under way at the primary; longer each time in vain, since a slow one needs replicas most."""
        try:
            async with asyncio.timeout(self._patience):
                await self._idle.wait()
        except TimeoutError:
            self._patience = min(2 * self._patience, DRAIN_SECONDS)
            raise
        self._patience = TURN_SECONDS


def replicas_of(url: str, limit: float) -> list[Replica]:
    """Return the replicas that a URL names, one a host; each may be so many seconds behind."""
    return [Replica(hosts.one(url, host), str(host), limit) for host in hosts.of(url)]


def open_readers(settings: Settings, primary: "Pool[Any]") -> Readers | None:
    """Return what chooses between the primary and the replicas that the settings name; None if they name none."""
    url = settings.read_database_url
    return None if url is None else Readers(settings.database_url, primary, replicas_of(url, settings.read_lag_seconds))
