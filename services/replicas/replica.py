"""One replica as a process sees it: whether it can be read from now, and the pool by which it is."""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec
from asyncpg import Connection, Pool

from events.log import postgres
from services.replicas import look
from services.replicas.look import AtPrimary, AtReplica

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""So long a server may take to answer a look; so a reader waits little longer for one that hangs."""
AHEAD_SECONDS: Final = 1.0
"""So long a replica may show events that the primary doesn't show yet: a commit is sent before it is told."""
MOST_KEPT: Final = 4096
POOL: Final = 10
STATEMENT_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 2.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a replica stands: whether it is read from (`used`), how many processes do, how far it is behind, why it is left out.

    `lag` counts events, `lag_seconds` is how long the first change that it lacks has waited. Both are null of one that can't be
    looked at or takes writes. `is_wrong` of a replica that an operator should see to.
    """

    name: str
    used: bool
    readers: int
    lag: int | None
    lag_seconds: float | None
    why: str | None
    is_wrong: bool


class Written:
    """How much the primary had written at which time: so that of a replica one knows since when it lacks something."""

    def __init__(self) -> None:
        self.seen_at = 0.0
        self._times: list[float] = []
        self._sizes: list[int] = []

    def note(self, at: float, size: int) -> None:
        """Take in a look. A smaller size than before is another server's: all before it says nothing any more."""
        self.seen_at = at
        if self._sizes and size < self._sizes[-1]:
            self._times.clear()
            self._sizes.clear()
        if not self._sizes or size > self._sizes[-1]:
            self._times.append(at)
            self._sizes.append(size)
        if len(self._sizes) > MOST_KEPT:
            del self._times[: MOST_KEPT // 2], self._sizes[: MOST_KEPT // 2]

    def lag(self, replayed: int) -> float:
        """Return for how long at most the first thing that a replica lacks has waited, at the last look; 0 for nothing."""
        first = bisect_right(self._sizes, replayed)
        return 0.0 if first == len(self._sizes) else self.seen_at - self._times[first] + PACE_SECONDS


PACE_SECONDS: Final = 0.25
"""So often each server is looked at."""


class Replica:
    """One replica. Looks at it share a session; reads have a pool, which is made when they begin and cut when they end."""

    def __init__(self, dsn: str, name: str, limit: float) -> None:
        self.name = name
        self.at: AtReplica | None = None
        self.why: str | None = "it wasn't looked at yet"
        self.lag_seconds = 0.0
        self.is_used = False
        self.not_before = 0.0
        self._dsn = dsn
        self._limit = limit
        self._session: Connection[Any] | None = None
        self._pool: Pool[Any] | None = None
        self._asking: set[asyncio.Timeout] = set()
        self._ahead_since: float | None = None

    async def look(self) -> None:
        """Look at it; `why` says what kept us from it."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if self._session is None:
                    self._session = await postgres.connect(self._dsn, "looks", seconds=2 * LOOK_SECONDS)
                self.at = await look.at_replica(self._session, look.READS if self.is_used else look.LOOKS)
        except (*postgres.FAILED, postgres.PoolerBetween) as error:
            self.at, self.why = None, look.said(error)
            self._drop_session()

    def judge(self, primary: AtPrimary | None, lag_seconds: float, *, is_held: bool) -> None:
        """Say whether it can be read from, after a look; `is_held`: its history is the primary's, as far as it goes."""
        if (at := self.at) is None:
            return
        self.lag_seconds = lag_seconds
        self._ahead_since = None if is_held else self._ahead_since or monotonic()
        self.why = look.why_apart(at, primary)
        if self.why is None and self.lag_seconds > self._limit:
            self.why = f"it is more than {self._limit:g} s behind"
        if self.why is None and self._ahead_since is not None and monotonic() - self._ahead_since >= AHEAD_SECONDS:
            self.why = "its history is not the primary's: make the replica anew"

    @property
    def is_doubted(self) -> bool:
        """Tell whether its history wasn't the primary's at the last look, though that may be but for a moment."""
        return self._ahead_since is not None

    async def catch_up(self, size: int, position: int) -> None:
        """Wait until so much is replayed, which was written after the last look.

        Raises the database's errors; ConnectionError if it had more then, or hasn't the position now: its history is another.
        """
        if self._session is None or self.at is None or self.at.replayed >= size:
            raise ConnectionError(self.name)
        while await self._session.fetchval(look.REPLAYED) < size:
            await asyncio.sleep(0.005)
        if await self._session.fetchval(look.HEAD) < position:
            raise ConnectionError(f"{self.name} has another history")

    async def begin(self, reset: Callable[["Connection[Any]"], Awaitable[None]]) -> None:
        """Make ready to be read from."""
        if self._pool is None:
            self._pool = await postgres.pool(
                self._dsn, "read", size=POOL, seconds=STATEMENT_SECONDS, connect_seconds=CONNECT_SECONDS, reset=reset
            )
        self.is_used = True

    async def ask(self, statement: Callable[["Pool[Any]"], Awaitable[T]]) -> T:
        """Read by a statement. Raises the database's errors, at once once it is cut off."""
        if self._pool is None:
            raise ConnectionError(self.name)
        async with asyncio.timeout(None) as limit:
            self._asking.add(limit)
            try:
                return await statement(self._pool)
            finally:
                self._asking.discard(limit)

    def leave(self) -> None:
        """Begin no more reads there; those under way may end."""
        self.is_used = False

    def cut(self) -> None:
        """End every read there, also those that wait for a session: of a server that hangs none would end by itself."""
        self.is_used = False
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
        asking, self._asking = self._asking, set()
        for limit in asking:
            limit.reschedule(0)

    def close(self) -> None:
        """End everything."""
        self.cut()
        self._drop_session()

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.terminate()
            self._session = None

    def standing(self, primary: AtPrimary | None) -> Standing:
        """Return how it stands."""
        at = self.at
        is_behind = at is not None and at.follows
        return Standing(
            name=self.name,
            used=self.is_used,
            readers=0 if at is None else at.readers,
            lag=None if at is None or primary is None or not is_behind else max(0, primary.position - at.position),
            lag_seconds=self.lag_seconds if is_behind else None,
            why=self.why,
            is_wrong=self.why not in (None, look.IS_PRIMARY),
        )
