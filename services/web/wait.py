"""How far the views are: waiting for a position, and the checks of their health."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, NamedTuple

from asyncpg import Pool

from events.log import history, migrate
from events.log.reads import Reads
from services.replicas.readers import Readers
from services.status.advice import AHEAD_SECONDS
from services.status.views import Reached, reached, read_views
from services.web.http.checks import Check
from services.web.http.networks import LOCAL, Network, Places
from services.web.http.problems import Refusal

PATIENCE_SECONDS: Final = 2.0
REPLICA_SECONDS: Final = 0.25
"""So long a replica is waited for; then the primary is read from, if that has the position."""
LOOK_SECONDS: Final = 0.05
REPLICA_LOOK_SECONDS: Final = 0.01
MOST_WAITERS: Final = 1000
NETWORK_WAITERS: Final = 100


class ViewsBehind(Exception):
    """The views have not reached the position in time."""


class TooManyWait(Refusal):
    """As many wait for the views as there are places for."""


class _Waiter(NamedTuple):
    position: int
    began: float
    reached: asyncio.Future[bool]


class ViewProgress:
    """Waits for the views, so that callers see their own writes. One task looks for all who wait."""

    def __init__(self, reads: Reads, readers: Readers | None = None) -> None:
        self.hurry: Callable[[], None] = lambda: None
        """Called while somebody waits: views that rest longer than they must are to go on."""
        self._reads = reads
        self._readers = readers
        self._moved = asyncio.Event()
        self._places = Places(MOST_WAITERS, NETWORK_WAITERS)
        self._waiters: list[_Waiter] = []
        self._looking: asyncio.Task[None] | None = None
        self._pause = LOOK_SECONDS

    def wake(self) -> None:
        """Look again, if anybody waits: a view has moved."""
        self._moved.set()

    async def reach(self, position: int, network: Network = LOCAL) -> None:
        """Wait until all views have reached a position. Raises TooManyWait, and ViewsBehind after 2 s.

        For a position above the log's head, which only a guess can be, ViewsBehind is raised at once.
        """
        if not self._places.take(network):
            raise TooManyWait("Too many wait for the views; ask without `after`, or try again.")
        try:
            if not await self._join(position):
                raise ViewsBehind(position)
        finally:
            self._places.leave(network)

    def _join(self, position: int) -> asyncio.Future[bool]:
        waiter = _Waiter(position, monotonic(), asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return waiter.reached

    async def _look(self) -> None:
        """Look for all who wait, until nobody does; what goes wrong is told to each of them."""
        try:
            while self._waiters:
                self._moved.clear()
                asked, self._waiters = self._waiters, []
                self._waiters += await self._tell(asked)
                if self._waiters:
                    self.hurry()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._pause):
                            await self._moved.wait()
        finally:
            self._looking = None

    async def _tell(self, asked: Sequence[_Waiter]) -> list[_Waiter]:
        """Tell those who asked before a look what it found; return those who wait on."""
        try:
            return _told(asked, await self._reached(asked))
        except Exception as error:  # each who waits gets the refusal that a look of its own would have got
            for waiter in asked:
                if not waiter.reached.done():
                    waiter.reached.set_exception(error)
            return []

    async def _reached(self, asked: Sequence[_Waiter]) -> Reached:
        """Look how far the views are. Of a replica that lets anybody wait for long, return what the primary knows beside."""
        found, late = await reached(self._reads), monotonic() - REPLICA_SECONDS
        missed = [one for one in asked if one.position > found.lowest]
        self._pause = LOOK_SECONDS
        if self._readers is None or not found.follows or not missed:
            return found
        if too_long := [one.position for one in missed if one.began < late]:
            there = await self._readers.ask_primary(reached)
            if min(too_long) <= there.lowest:
                self._readers.await_less(min(too_long))
            return found._replace(head=there.head, follows=False)
        await self._readers.hurry()
        self._pause = REPLICA_LOOK_SECONDS
        return found


def _told(asked: Sequence[_Waiter], found: Reached) -> list[_Waiter]:
    """Tell those who wait what was found, and return those who wait on. A replica's head says nothing of what is a guess."""
    waiting, late = [], monotonic() - PATIENCE_SECONDS
    for waiter in asked:
        if waiter.reached.done():
            continue
        if waiter.position <= found.lowest:
            waiter.reached.set_result(True)
        elif (waiter.position > found.head and not found.follows) or waiter.began < late:
            waiter.reached.set_result(False)
        else:
            waiting.append(waiter)
    return waiting


def schema_check(reads: Reads) -> Check:
    """Return the check that the database has this release's schema."""

    async def ask() -> str | None:
        seen, ours = await migrate.migrated(reads), migrate.current()
        return None if seen >= ours else f"the database is at migration {seen} of {ours}; run `ballotpress migrate`"

    return Check("schema", True, ask)


def history_check(pool: "Pool[Any]") -> Check:
    """Return the check that the log hasn't gone back, or that an operator has answered that."""

    async def ask() -> str | None:
        rewind = await history.unanswered(pool)
        return None if rewind is None else str(rewind)

    return Check("history", False, ask)


def clock_check(pool: "Pool[Any]") -> Check:
    """Return the check that the log's time isn't ahead of the server's clock."""

    async def ask() -> str | None:
        row = await pool.fetchrow(
            "select nullif(recorded_at, '-infinity') as recorded_at, clock_timestamp() as at from log.head"
        )
        ahead = 0.0 if row is None or row["recorded_at"] is None else (row["recorded_at"] - row["at"]).total_seconds()
        return f"the log's time is {ahead:.0f} s ahead of the database's clock" if ahead > AHEAD_SECONDS else None

    return Check("clock", False, ask)


def view_checks(pool: Reads) -> list[Check]:
    """Return the checks that every view was once caught up (vital), and that none has halted or drifted."""

    async def built() -> str | None:
        missing = ", ".join(state.name for state in await read_views(pool) if not state.caught_up)
        return f"{missing} not yet caught up with the log" if missing else None

    async def moving() -> str | None:
        states = await read_views(pool)
        return "; ".join(f"{state.name} halted at position {state.halt.position}" for state in states if state.halt) or None

    async def right() -> str | None:
        states = await read_views(pool)
        return "; ".join(f"{s.name} has drifted from the log: {s.drift.what}" for s in states if s.drift) or None

    return [Check("views", True, built), Check("projections", False, moving), Check("drift", False, right)]
