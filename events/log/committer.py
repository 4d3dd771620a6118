"""Group commit: many commands, one transaction, each decided as under the head's lock.

No decision can lose a race, no answer is given before its events are durable, and no command spoils another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Final, TypeVar

import asyncpg

from events.log import conditional, large, postgres
from events.log.cadence import Cadence
from events.log.command import Command, Receipt
from events.log.course import Course
from events.log.event import Recorded, Registry
from events.log.lane import Common, Lane
from events.log.tasks import end
from events.log.traced import CommandsTrace
from events.log.transaction import Outcome, follow_all

V = TypeVar("V")

UNENCODABLE: Final = (ValueError, TypeError, OverflowError)
"""What asyncpg raises of an argument that it can't encode; some of them look as if the server were away."""

logger = logging.getLogger(__name__)


class LogUnavailable(Exception):
    """The log could not take the command in time. It may have been recorded; retry with the same idempotency key."""


class _Waiting:
    """A command in the queue, the future its caller awaits, when that is given up, and what traces it."""

    __slots__ = ("asked", "command", "done", "until")

    def __init__(self, command: Command[Any], done: "asyncio.Future[Receipt[Any]]", until: float, asked: Any | None) -> None:
        self.command = command
        self.done = done
        self.until = until
        self.asked = asked


class _Flight:
    """A lane, and the commands that are in flight there."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.waiting: list[_Waiting] = []


class Committer:
    """Takes commands, commits them in batches, and answers each caller after its commit. A process has one.

    Calls `on_commit` with the events of each commit, before anybody is answered.
    """

    def __init__(
        self,
        dsn: str,
        registry: Registry,
        *,
        on_commit: Callable[[Sequence[Recorded[Any]]], None] = lambda events: None,
        tracing: CommandsTrace | None = None,
        patience: float = 2.0,
        cadence: Cadence | None = None,
        without_lock: bool = True,
        largest_batch: int = 512,
        longest_queue: int = 20_000,
    ) -> None:
        self._tracing = tracing
        self._patience = patience
        self._cadence = cadence or Cadence()
        self._largest_batch = largest_batch
        self._longest_queue = longest_queue
        self._queue: deque[_Waiting] = deque()
        self._arrived, self._crowded = asyncio.Event(), asyncio.Event()
        self._common = Common(dsn, registry, on_commit, self._cadence, self._queued, without_lock=without_lock)
        self._first, self._second = _Flight(Lane(self._common)), _Flight(Lane(self._common))
        self._refused = conditional.Rest()
        self.is_ready = False
        """Whether the listing was read: from then on a batch finds nearly all of it in memory."""
        self._tasks: list[asyncio.Task[None]] = []
        self._large: set[asyncio.Task[Receipt[Any]]] = set()
        self._one_large = asyncio.Lock()
        self.course = Course()
        self._has_stopped = False

    async def __aenter__(self) -> "Committer":
        """Start taking commands."""
        self._loop = asyncio.get_running_loop()  # kept: before Python 3.12, to ask for it is a system call
        self._tasks = [asyncio.create_task(run) for run in (self._run(), self._run_second(), self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what is queued, then stop; refuse what could not be committed in time."""
        deadline = monotonic() + self._patience
        while (self._queue or self._first.waiting or self._second.waiting) and monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._has_stopped = True
        await end(*self._tasks, *self._large)
        _refuse([*self._first.waiting, *self._second.waiting, *self._queue], LogUnavailable("this process stops"))
        for flight in (self._first, self._second):
            await flight.lane.disconnect()

    def submit(self, command: Command[V], report: large.Report = lambda done, of: None) -> "asyncio.Future[Receipt[V]]":
        """Queue a command; the future is done when its events are durable or it is refused.

        The future raises what the rule raised, or KeyReused. It raises LogUnavailable after `patience` seconds, or at once
        when the queue is full or the committer has stopped. A large command takes its time on a connection of its own, and
        `report` hears how far it is.
        """
        if self._has_stopped:
            return _refused(LogUnavailable("this process stops"))
        if command.is_large:
            task = asyncio.create_task(self._append_large(command, report))
            self._large.add(task)
            task.add_done_callback(self._large.discard)
            return task
        if len(self._queue) >= self._longest_queue:
            return _refused(LogUnavailable("too many commands are waiting"))
        done: asyncio.Future[Receipt[V]] = self._loop.create_future()
        asked = None if self._tracing is None else self._tracing.asked()
        self._queue.append(_Waiting(command, done, monotonic() + (command.seconds or self._patience), asked))
        self._arrived.set()
        if self._first.waiting:
            self._crowded.set()
        return done

    async def _run(self) -> None:
        """Take what has gathered, commit it and answer, until cancelled."""
        await self._prepare()
        while True:
            await self._arrived.wait()
            await self._let_gather()
            if share := self._share(self._second.waiting):
                await self._fly(self._first, share)
            else:
                self._arrived.clear()

    async def _run_second(self) -> None:
        """Take half of a crowd by another session while the other half is in flight, until cancelled."""
        while True:
            await self._crowded.wait()
            self._crowded.clear()
            if not self._second_share():
                continue
            try:
                await self._second.lane.session()
            except Exception as error:
                logger.warning("the log gives no second session, so crowds go as one: %r", error)
                self._refused.begin()
            else:
                await self._fly(self._second, self._second_share())

    def _second_share(self) -> int:
        """Return how many of the commands that wait are a crowd's second half; 0 if there is no crowd."""
        both = len(self._queue) + len(self._first.waiting)
        return self._share(self._first.waiting) if self._first.waiting and self._goes_by_halves(both) else 0

    def _share(self, elsewhere: Sequence[_Waiting]) -> int:
        """Return how many of the commands that wait a lane should take now, given those in flight elsewhere; 0 to wait on."""
        waiting = len(self._queue)
        both = waiting + len(elsewhere)
        if not self._goes_by_halves(both):
            return waiting
        return (both + 1) // 2 if waiting >= both // 2 else 0

    def _goes_by_halves(self, commands: int) -> bool:
        """Return whether so many commands should be two batches: not under the lock, where one would wait for the other."""
        pays = self._cadence.goes_by_halves(commands) and self._refused.is_over
        return pays and self._common.may_go_without_lock(self._queued())

    async def _fly(self, flight: _Flight, share: int) -> None:
        """Take commands from the queue, commit them and answer."""
        flight.waiting = self._gather(share)
        if self._queue:
            self._crowded.set()
        else:
            self._arrived.clear()
        if not flight.waiting:
            return
        self._cadence.begin(len(flight.waiting))
        self.course.begin(flight.lane)
        try:
            await self._settle(flight.lane, flight.waiting)
        except Exception as error:  # a defect of ours must not end the loop that every caller waits for
            logger.exception("a batch failed unexpectedly")
            self.course.fail(flight.lane, error)
            _refuse(flight.waiting, LogUnavailable("the batch failed"))
            await flight.lane.disconnect()
        flight.waiting = []
        if self._queue:
            self._arrived.set()

    async def _prepare(self) -> None:
        """Read the listing before the first batch; while that fails, refuse what waits and try again."""
        while not self.is_ready:
            try:
                await follow_all(await self._first.lane.session(), self._common.registry, self._common.known)
                self.is_ready = True
            except Exception as error:
                if not isinstance(error, postgres.FAILED):
                    logger.exception("the listing can't be read")
                away = isinstance(error, postgres.UNAVAILABLE)
                _refuse([*self._queue], LogUnavailable(str(error)) if away else error)
                self._queue.clear()
                await self._first.lane.disconnect()
                await asyncio.sleep(0.1)

    async def _append_large(self, command: Command[V], report: large.Report) -> Receipt[V]:
        """Append a large command's events beside the queue, one such command at a time. Raises LogUnavailable."""
        async with self._one_large:
            try:
                connection = await postgres.connect_large(self._common.dsn)
                try:
                    receipt, events = await large.append(connection, self._common.registry, command, report)
                finally:
                    connection.terminate()
            except postgres.UNAVAILABLE as error:
                raise LogUnavailable(str(error)) from error
        if events:
            self._common.on_commit(events)
        return receipt

    async def _let_gather(self) -> None:
        """Under load, let more commands gather, unless others are in flight meanwhile."""
        rest = self._cadence.rest(len(self._queue))
        if rest > 0 and not self._second.waiting:
            await asyncio.sleep(rest)

    def _queued(self) -> Sequence[Command[Any]]:
        """Return the commands that wait, as many as a batch may have."""
        return [waiting.command for waiting in islice(self._queue, self._largest_batch)]

    def _gather(self, most: int) -> list[_Waiting]:
        """Take up to so many commands, and a batch, from the queue; an exclusive command comes alone."""
        taken: list[_Waiting] = []
        while self._queue and len(taken) < min(most, self._largest_batch):
            if self._queue[0].command.exclusive and taken:
                break
            waiting = self._queue.popleft()
            if not waiting.done.done():
                taken.append(waiting)
                if waiting.command.exclusive:
                    break
        return taken

    async def _settle(self, lane: Lane, waiting: list[_Waiting]) -> None:
        """Commit a batch and answer; if its SQL is refused, run its commands one by one."""
        trace = None if self._tracing is None else self._tracing.batch([w.asked for w in waiting])
        try:
            outcomes: Sequence[Outcome] = await lane.commit([w.command for w in waiting], trace)
        except Exception as error:
            if trace is not None:
                trace.ended([error] * len(waiting))
            await self._take_failure(lane, waiting, error)
            return
        self.course.succeed(lane)
        if trace is not None:
            trace.ended(outcomes)
        for one, outcome in zip(waiting, outcomes, strict=True):
            if one.done.done():
                continue
            if isinstance(outcome, Exception):
                one.done.set_exception(outcome)
            else:
                one.done.set_result(outcome)

    async def _take_failure(self, lane: Lane, waiting: list[_Waiting], error: Exception) -> None:
        """Refuse a batch for as long as the log is away; raise what nobody foresaw."""
        await lane.disconnect()
        if isinstance(error, UNENCODABLE):
            await self._retry_singly(lane, waiting, error)
        elif isinstance(error, postgres.UNAVAILABLE):
            logger.warning("the log is unavailable: %r", error)
            self.course.fail(lane, error)
            _refuse(waiting, LogUnavailable(str(error)))
            await asyncio.sleep(0.05)
        elif isinstance(error, asyncpg.PostgresError):
            await self._retry_singly(lane, waiting, error)
        else:
            raise error

    async def _retry_singly(self, lane: Lane, waiting: Sequence[_Waiting], error: Exception) -> None:
        """Find the command whose data the server refuses, and refuse it alone."""
        if len(waiting) == 1:
            self.course.succeed(lane)  # the log is well: it is this command that can't be recorded
            _refuse(waiting, error)
            return
        for one in waiting:
            if not one.done.done():
                await self._settle(lane, [one])

    async def _watch(self) -> None:
        """Refuse commands that have waited too long, whatever holds the batch up."""
        while True:
            await asyncio.sleep(0.1)
            now = monotonic()
            late = [waiting for waiting in (*self._first.waiting, *self._second.waiting, *self._queue) if waiting.until < now]
            _refuse(late, LogUnavailable("the log did not answer in time"))


def _refused(error: Exception) -> "asyncio.Future[Any]":
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    done.set_exception(error)
    return done


def _refuse(waiting: Sequence[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.done.done():
            one.done.set_exception(error)
