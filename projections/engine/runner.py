"""Keep one projection up with the log: wait, fold a window, move on; halt at an event that fails.

The checkpoint's row lock, taken anew for each window, lets one runner work at a time. Any number may run: the next one goes on
the moment the lock is free, and a stalled one loses its lock to the server's time-out.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import monotonic, time_ns
from typing import Any

import asyncpg
import msgspec
from asyncpg import Connection

from events.log import history
from events.log.event import Registry
from events.log.postgres import UNAVAILABLE
from events.log.traced import WindowsTrace
from projections.engine import window
from projections.engine.projection import Projection, connect
from projections.engine.watch import Watch

logger = logging.getLogger(__name__)

# After these try again, do not halt: no event is at fault. Tables are missing while they are built or switched.
TRANSIENT = (*UNAVAILABLE, asyncpg.UndefinedTableError, window.CheckpointMoved)

# A session plans its statements once. The server forgets a plan when the log's table gets a part, but not one that it is making
# at that moment, if the table is read by a function of ours that it expands: that plan would pass over the part. So a session
# forgets its plans itself once it sees other parts than before.
LOCK_CHECKPOINT = """
select c.position, c.caught_up, h.position as head, log.holds(c.seen_position, c.seen_at, c.seen_stream) as holds,
       p.parts, p.parts is distinct from nullif(current_setting('ballotpress.parts', true), '') as has_other_parts
from checkpoint c cross join log.head h cross join (
    select sum(i.inhrelid::bigint)::text as parts from pg_inherits i where i.inhparent = to_regclass('log.events')
) p
for update of c skip locked
"""

NOTE_PARTS = "select set_config('ballotpress.parts', coalesce($1, ''), false)"

# A row that another runner has just moved is newer than what the statement that locked it saw of the log, and its plan may
# have passed over a part: before a halt, both are looked at once more.
READ_HEAD = """
select h.position as head, log.holds(c.seen_position, c.seen_at, c.seen_stream) as holds from checkpoint c cross join log.head h
"""

LOST_MARK = """
select seen_position, seen_at, seen_stream from checkpoint
where seen_at is not null and not log.holds(seen_position, seen_at, seen_stream)
"""

# Where the log is on several servers, a head can be seen this long before its events, at most.
HOLE_SECONDS = 1.0
HOLE_PAUSE_SECONDS = 0.02

# An idle poll looks without a lock, because it must not write.
HAS_WORK = """
select h.position <> c.position or not c.caught_up or not log.holds(c.seen_position, c.seen_at, c.seen_stream)
from log.head h, checkpoint c
"""


class Rests(msgspec.Struct, frozen=True):
    """Seconds between two windows: `least`, or so many for each event of the last one, but not more than `most`.

    Windows that are further apart are larger, and cost less a vote.
    """

    least: float = 0.02
    an_event: float = 0.0
    most: float = 0.0

    def after(self, events: int) -> float:
        """Return the seconds to rest after a window of so many events, when nobody waits for the view."""
        return max(self.least, min(self.most, self.an_event * events))


AT_LEAST = Rests()


class Advanced(msgspec.Struct, frozen=True):
    """The positions before and after a turn, and the head it saw; all None when another runner is at work."""

    start: int | None
    end: int | None
    head: int | None


class Halted(Exception):
    """The projection can't fold the event at `position`."""

    def __init__(self, position: int, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.position = position


async def advance(
    connection: "Connection[Any]",
    projection: Projection,
    registry: Registry,
    largest: int,
    until: int | None = None,
    patience: float = HOLE_SECONDS,
) -> Advanced:
    """Fold the next window, of up to `largest` events and not beyond `until`, in one transaction.

    A window that fails is halved; raises Halted when its first event fails by itself. A hole is looked at again for
    `patience` seconds.
    """
    try:
        return await _patiently(connection, projection, registry, largest, until, patience)
    except TRANSIENT:
        raise
    except (asyncpg.PostgresError, window.HoleInLog, window.EventTypeUnknown) as error:
        if largest > 1:
            return await advance(connection, projection, registry, _halved(largest, error), until, patience=0)
        position = await connection.fetchval("select position + 1 from checkpoint")
        raise Halted(position, error) from error


async def _patiently(
    connection: "Connection[Any]", projection: Projection, registry: Registry, largest: int, until: int | None, patience: float
) -> Advanced:
    end = monotonic() + patience
    while True:
        try:
            return await _advance(connection, projection, registry, largest, until)
        except window.HoleInLog:
            if monotonic() > end:
                raise
        await asyncio.sleep(HOLE_PAUSE_SECONDS)


def _halved(largest: int, error: Exception) -> int:
    logger.info("a window of up to %d events failed (%s), trying half of it", largest, error)
    return largest // 2


async def _advance(
    connection: "Connection[Any]", projection: Projection, registry: Registry, largest: int, until: int | None
) -> Advanced:
    async with connection.transaction():
        row = await connection.fetchrow(LOCK_CHECKPOINT)
        if row is None:
            return Advanced(None, None, None)
        start, head = row["position"], await _head(connection, row)
        end = min(head, start + largest, head if until is None else until)
        if end > start:
            await window.apply(connection, projection, registry, start, end)
        if end == head and not row["caught_up"]:
            await connection.execute("update checkpoint set caught_up = true")
        return Advanced(start, end, head)


async def _head(connection: "Connection[Any]", locked: asyncpg.Record) -> int:
    """Return the log's head, given the checkpoint as it was locked. Raises Halted if the log went back."""
    start, seen = locked["position"], locked
    if locked["has_other_parts"]:
        await connection.execute("discard plans")
        await connection.execute(NOTE_PARTS, locked["parts"])
    if seen["head"] < start or not seen["holds"]:
        (seen,) = await connection.fetch(READ_HEAD)
    if seen["head"] < start or not seen["holds"]:
        raise Halted(start, window.LogWentBack("its last event isn't in the log any more"))
    return int(seen["head"])


class Runner:
    """Runs one projection. Its owner sets `wake` when the log has grown; `on_advance` is called after each window.

    It sets `hurry` when somebody waits for the view: the rest after a window ends then.
    """

    def __init__(
        self,
        dsn: str,
        projection: Projection,
        registry: Registry,
        *,
        clock: Callable[[], datetime],
        on_advance: Callable[[], None] = lambda: None,
        tracing: WindowsTrace | None = None,
        largest: int = 20_000,
        rests: Rests = AT_LEAST,
        poll: float = 0.5,
        look_every: float = 20.0,
        scrub_every: float = 1.0,
    ) -> None:
        self.projection = projection
        self.wake = asyncio.Event()
        self.hurry = asyncio.Event()
        self._dsn = dsn
        self._registry = registry
        self._on_advance = on_advance
        self._tracing = tracing
        self._clock = clock
        self._largest = self._size = largest
        self._rests = rests
        self._folded = 0
        self._poll = poll
        self._watch = Watch(projection, clock, look_every, scrub_every)

    async def run(self) -> None:
        """Follow the log until cancelled; every failure is logged, and tried again."""
        pause = self._rests.least
        while True:
            try:
                connection = await connect(self._dsn, self.projection.schema)
                try:
                    pause = self._rests.least
                    await self._follow(connection)
                finally:
                    connection.terminate()
            except TRANSIENT as error:
                logger.warning("%s waits for the database: %r", self.projection.schema, error)
                self._size = max(1, self._size // 2)  # a window that outlasts the statements' time-out would never pass whole
            except Exception:
                logger.exception("%s failed, trying again", self.projection.schema)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _follow(self, connection: "Connection[Any]") -> None:
        while True:
            woken = self.wake.is_set()
            self.wake.clear()
            await self._watch.look(connection)
            if woken or await self._behind(connection):
                try:
                    await self._turn(connection)
                except Halted as halt:
                    await self._record_halt(connection, halt)
                    self._size = 1  # try that event again, now and then: a `drop` lets it pass
            await self._wait()

    async def _behind(self, connection: "Connection[Any]") -> bool:
        """Return whether there is work."""
        behind: bool = await connection.fetchval(HAS_WORK)
        return behind

    async def _turn(self, connection: "Connection[Any]") -> None:
        began, self._folded = time_ns(), 0
        advanced = await advance(connection, self.projection, self._registry, self._size)
        if advanced.start is None or advanced.end is None or advanced.end == advanced.start:
            return
        self._folded = advanced.end - advanced.start
        self._size = self._largest
        if self._tracing is not None:
            self._tracing.folded(self.projection.name, advanced.start, advanced.end, began)
        self._on_advance()
        if advanced.head is not None and advanced.end < advanced.head:
            self.wake.set()
            self.hurry.set()  # it is far behind

    async def _wait(self) -> None:
        """Rest, and wait for the log to grow."""
        await asyncio.sleep(self._rests.least)
        await _within(self._rests.after(self._folded) - self._rests.least, self.hurry)
        self.hurry.clear()
        self._folded = 0
        await _within(self._poll, self.wake)

    async def _record_halt(self, connection: "Connection[Any]", halt: Halted) -> None:
        recorded = await connection.execute(
            "update checkpoint set halted_position = $1, halted_error = $2, halted_since = $3"
            " where halted_position is distinct from $1 or halted_error is distinct from $2",
            halt.position,
            str(halt)[:1000],
            self._clock(),
        )
        if recorded == "UPDATE 1":
            logger.error("%s halted at position %d: %s", self.projection.schema, halt.position, halt)
            if (lost := await connection.fetchrow(LOST_MARK)) is not None:
                await history.note(connection, history.Mark(*lost), self.projection.schema)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, but not longer than so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
