"""Group commit: many commands, one transaction, each decided as under the head's lock.

No decision can lose a race, no answer is given before its events are durable, and no command spoils another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

import asyncpg
from asyncpg import Connection

from events.log import conditional, history, large, postgres, store
from events.log.command import Command, Receipt
from events.log.course import Course
from events.log.event import Recorded, Registry
from events.log.tasks import end
from events.log.traced import BatchTrace, CommandsTrace
from events.log.transaction import Appended, Known, ListingBehind, Outcome, decide_and_append, follow_all

V = TypeVar("V")

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
        pace: float = 0.003,
        pace_each: float = 0.0005,
        enough: int = 32,
        without_lock: bool = True,
        largest_batch: int = 512,
        longest_queue: int = 20_000,
    ) -> None:
        self._dsn = dsn
        self._registry = registry
        self._on_commit = on_commit
        self._tracing = tracing
        self._trace: BatchTrace | None = None
        self._patience = patience
        self._pace = pace
        self._pace_each = pace_each
        self._last_size = 0
        self._chances = conditional.Chances()
        self._goes_without_lock = without_lock
        self._enough = enough
        self._largest_batch = largest_batch
        self._longest_queue = longest_queue
        self._queue: deque[_Waiting] = deque()
        self._in_flight: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._connection: Connection[Any] | None = None
        self._is_committing = False
        self._known = Known(registry)
        self.is_ready = False
        """Whether the listing was read: from then on a batch finds nearly all of it in memory."""
        self._tasks: list[asyncio.Task[None]] = []
        self._large: set[asyncio.Task[Receipt[Any]]] = set()
        self._one_large = asyncio.Lock()
        self.course = Course()

    async def __aenter__(self) -> "Committer":
        """Start taking commands."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._watch())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commit what is queued, then stop."""
        deadline = monotonic() + self._patience
        while (self._queue or self._in_flight) and monotonic() < deadline:
            await asyncio.sleep(0.01)
        await end(*self._tasks, *self._large)
        await self._disconnect()

    def submit(self, command: Command[V], report: large.Report = lambda done, of: None) -> "asyncio.Future[Receipt[V]]":
        """Queue a command; the future is done when its events are durable or it is refused.

        The future raises what the rule raised, or KeyReused. It raises LogUnavailable after `patience` seconds, or at once
        when the queue is full. A large command takes its time on a connection of its own, and `report` hears how far it is.
        """
        if command.is_large:
            task = asyncio.create_task(self._append_large(command, report))
            self._large.add(task)
            task.add_done_callback(self._large.discard)
            return task
        done: asyncio.Future[Receipt[V]] = asyncio.get_running_loop().create_future()
        if len(self._queue) >= self._longest_queue:
            done.set_exception(LogUnavailable("too many commands are waiting"))
            return done
        asked = None if self._tracing is None else self._tracing.asked()
        self._queue.append(_Waiting(command, done, monotonic() + (command.seconds or self._patience), asked))
        self._arrived.set()
        return done

    async def _run(self) -> None:
        """Take what has gathered, commit it and answer, until cancelled."""
        await self._prepare()
        began = 0.0
        while True:
            await self._arrived.wait()
            await self._let_gather(began)
            began = monotonic()
            self._in_flight = self._gather()
            self._last_size = len(self._in_flight)
            if not self._queue:
                self._arrived.clear()
            if not self._in_flight:
                continue
            self.course.begin()
            try:
                await self._settle(self._in_flight)
            except Exception as error:  # a defect of ours must not end the loop that every caller waits for
                logger.exception("a batch failed unexpectedly")
                self.course.fail(error)
                _refuse(self._in_flight, LogUnavailable("the batch failed"))
                await self._disconnect()
            self._in_flight = []

    async def _prepare(self) -> None:
        """Read the listing before the first batch; while that fails, refuse what waits and try again."""
        while not self.is_ready:
            try:
                await follow_all(await self._connect(), self._registry, self._known)
                self.is_ready = True
            except Exception as error:
                if not isinstance(error, postgres.FAILED):
                    logger.exception("the listing can't be read")
                away = isinstance(error, postgres.UNAVAILABLE)
                _refuse([*self._queue], LogUnavailable(str(error)) if away else error)
                self._queue.clear()
                await self._disconnect()
                await asyncio.sleep(0.1)

    async def _append_large(self, command: Command[V], report: large.Report) -> Receipt[V]:
        """Append a large command's events beside the queue, one such command at a time. Raises LogUnavailable."""
        async with self._one_large:
            try:
                connection = await postgres.connect_large(self._dsn)
                try:
                    receipt, events = await large.append(connection, self._registry, command, report)
                finally:
                    connection.terminate()
            except postgres.UNAVAILABLE as error:
                raise LogUnavailable(str(error)) from error
        if events:
            self._on_commit(events)
        return receipt

    async def _let_gather(self, began: float) -> None:
        """Under load, let more commands gather: a batch costs as much as dozens of votes. A lone caller never waits."""
        rest = began + min(self._pace, self._pace_each * (self._last_size - 1)) - monotonic()
        if rest > 0 and len(self._queue) < self._enough:
            await asyncio.sleep(rest)

    def _gather(self) -> list[_Waiting]:
        """Take up to a batch from the queue; an exclusive command comes alone."""
        taken: list[_Waiting] = []
        while self._queue and len(taken) < self._largest_batch:
            if self._queue[0].command.exclusive and taken:
                break
            waiting = self._queue.popleft()
            if not waiting.done.done():
                taken.append(waiting)
                if waiting.command.exclusive:
                    break
        return taken

    async def _settle(self, waiting: list[_Waiting]) -> None:
        """Commit a batch and answer; if its SQL is refused, run its commands one by one."""
        self._trace = None if self._tracing is None else self._tracing.batch([w.asked for w in waiting])
        try:
            outcomes = await self._commit_patiently([w.command for w in waiting])
        except (ValueError, TypeError, OverflowError) as error:  # asyncpg could not encode an argument
            await self._retry_singly(waiting, error)
            return
        except postgres.UNAVAILABLE as error:
            logger.warning("the log is unavailable: %r", error)
            self.course.fail(error)
            self._end_trace([error] * len(waiting))
            await self._disconnect()
            _refuse(waiting, LogUnavailable(str(error)))
            await asyncio.sleep(0.05)
            return
        except asyncpg.PostgresError as error:
            await self._retry_singly(waiting, error)
            return
        self.course.succeed()
        self._end_trace(outcomes)
        for one, outcome in zip(waiting, outcomes, strict=True):
            if one.done.done():
                continue
            if isinstance(outcome, Exception):
                one.done.set_exception(outcome)
            else:
                one.done.set_result(outcome)

    def _end_trace(self, outcomes: Sequence[Outcome]) -> None:
        trace, self._trace = self._trace, None
        if trace is not None:
            trace.ended(outcomes)

    async def _retry_singly(self, waiting: Sequence[_Waiting], error: Exception) -> None:
        """Find the command whose data the server refuses, and refuse it alone."""
        self._end_trace([error] * len(waiting))
        await self._disconnect()
        if len(waiting) == 1:
            self.course.succeed()  # the log is well: it is this command that can't be recorded
            _refuse(waiting, error)
            return
        for one in waiting:
            if not one.done.done():
                await self._settle([one])

    async def _commit_patiently(self, commands: Sequence[Command[Any]]) -> list[Outcome]:
        """Commit a batch. If the session ends before it was told to commit, nothing was recorded: try once more in another."""
        try:
            return await self._commit(commands)
        except postgres.SESSION_ENDED as error:
            if self._is_committing:
                raise
            logger.warning("the session of the log ended, the batch is tried again: %r", error)
            await self._disconnect()
            return await self._commit(commands)

    async def _commit(self, commands: Sequence[Command[Any]]) -> list[Outcome]:
        """Decide and append a batch in one transaction; return each command's receipt or refusal."""
        self._is_committing = False
        connection = await self._connect()
        if not connection.is_in_transaction() and self._may_go_without_lock(commands):
            try:
                return self._took(
                    *await conditional.append(
                        connection, self._registry, self._known, commands, self._chances, self._about_to_commit
                    )
                )
            except (conditional.NeedsLock, conditional.Lost):
                self._is_committing = False
        return await self._commit_under_lock(connection, commands)

    def _may_go_without_lock(self, commands: Sequence[Command[Any]]) -> bool:
        return self._goes_without_lock and self._chances.good_for(len(commands)) and all(map(conditional.is_plain, commands))

    async def _commit_under_lock(self, connection: "Connection[Any]", commands: Sequence[Command[Any]]) -> list[Outcome]:
        """Decide a batch while nobody else can append."""
        if not connection.is_in_transaction():  # one begun with the last commit ends with its session
            await connection.execute("begin")
        if commands[0].seconds is not None:  # exclusive, and allowed to hold the head for longer than a batch of votes
            await connection.execute(store.ALLOW_SECONDS, f"{commands[0].seconds}s")
        try:
            outcomes, appended = await decide_and_append(connection, self._registry, self._known, commands)
        except ListingBehind:
            await connection.execute("rollback")
            await follow_all(connection, self._registry, self._known)
            return await self._commit(commands)
        except history.WentBack as error:
            await connection.execute("rollback")
            await history.note(connection, error.mark, "the log")
            self._known = Known(self._registry)
            return await self._commit(commands)
        self._about_to_commit()
        # If more commands wait, this commit begins their transaction too, which saves its `begin` a round trip.
        goes_on = self._queue and not self._may_go_without_lock([waiting.command for waiting in self._queue])
        await connection.execute("commit and chain" if goes_on else "commit")
        return self._took(outcomes, appended)

    def _about_to_commit(self) -> None:
        """Note that what is sent next may commit the batch."""
        self._is_committing = True
        if self._trace is not None:
            self._trace.committing()

    def _took(self, outcomes: list[Outcome], appended: Appended | None) -> list[Outcome]:
        """Tell of what was committed; return the outcomes."""
        if appended is not None:
            self._known.mark = appended.mark
            self._on_commit(appended.events)
        return outcomes

    async def _watch(self) -> None:
        """Refuse commands that have waited too long, whatever holds the batch up."""
        while True:
            await asyncio.sleep(0.1)
            now = monotonic()
            late = [waiting for waiting in (*self._in_flight, *self._queue) if waiting.until < now]
            _refuse(late, LogUnavailable("the log did not answer in time"))

    async def _connect(self) -> "Connection[Any]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await postgres.connect_appender(self._dsn)
            self._known.room = 0  # a part that an earlier session made may have gone with its transaction
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _refuse(waiting: Sequence[_Waiting], error: Exception) -> None:
    for one in waiting:
        if not one.done.done():
            one.done.set_exception(error)
