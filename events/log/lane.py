"""A lane: a session of the log, and the batch that goes through it.

A process has two: while the server works for the batch of one, the process works for that of the other. To the log they are two
processes. They share what the process knows of the log, and one at a time takes the way by the head's lock.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from asyncpg import Connection

from events.log import conditional, history, postgres, store
from events.log.cadence import Cadence
from events.log.command import Command
from events.log.event import Recorded, Registry
from events.log.traced import BatchTrace
from events.log.transaction import Appended, Known, ListingBehind, Outcome, decide_and_append, follow_all

TURNS: Final = 3
"""Turns of the event loop within which an answer that has arrived is read."""

logger = logging.getLogger(__name__)


class Commit:
    """A commit under way, and the first position of what it has appended once that is known."""

    def __init__(self) -> None:
        self.start: int | None = None


class Common:
    """What the lanes of a process share."""

    def __init__(
        self,
        dsn: str,
        registry: Registry,
        on_commit: Callable[[Sequence[Recorded[Any]]], None],
        cadence: Cadence,
        queued: Callable[[], Sequence[Command[Any]]],
        *,
        without_lock: bool,
    ) -> None:
        self.dsn = dsn
        self.registry = registry
        self.cadence = cadence
        self.queued = queued
        self.known = Known(registry)
        self.chances = conditional.Chances()
        self.one_locked = asyncio.Lock()
        self.commits: list[Commit] = []
        self.on_commit = on_commit
        self._goes_without_lock = without_lock

    def may_go_without_lock(self, commands: Sequence[Command[Any]]) -> bool:
        """Return whether a batch is worth a conditional append."""
        return self._goes_without_lock and self.chances.good_for(len(commands)) and all(map(conditional.is_plain, commands))

    def begin(self) -> Commit:
        """Note that a commit is under way."""
        self.commits.append(commit := Commit())
        return commit

    async def let_earlier_pass(self, commit: Commit, appended: Appended) -> None:
        """Wait until what the other lane committed earlier is told: its answer has arrived, but may not be read yet."""
        commit.start = appended.events[0].position
        turns = TURNS if self._lacks(commit.start) else 0
        while self._is_before(commit.start) or (turns and any(other.start is None for other in self.commits)):
            await asyncio.sleep(0)
            turns = max(0, turns - 1)

    def tell(self, appended: Appended) -> None:
        """Remember and tell what was committed."""
        if self.known.is_before(appended.mark.position):
            self.known.mark = appended.mark
        self.on_commit(appended.events)

    def _lacks(self, start: int) -> bool:
        """Return whether events are missing between the last known one and a position."""
        return self.known.mark is None or self.known.mark.position + 1 != start

    def _is_before(self, start: int) -> bool:
        """Return whether a commit that isn't told yet has an earlier position."""
        return any(other.start is not None and other.start < start for other in self.commits)


class Lane:
    """A session, and the way of a batch through it."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._connection: Connection[Any] | None = None
        self._is_committing = False
        self._trace: BatchTrace | None = None

    async def session(self) -> "Connection[Any]":
        """Return the session; open one if there is none."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await postgres.connect_appender(self._common.dsn)
            self._common.known.room = 0  # another server may lack the newest part
        return self._connection

    async def disconnect(self) -> None:
        """End the session."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def commit(self, commands: Sequence[Command[Any]], trace: BatchTrace | None) -> list[Outcome]:
        """Decide and append a batch in one transaction; return each command's receipt or refusal.

        If the session ends before it was told to commit, nothing was recorded: it is tried once more in another.
        """
        self._trace = trace
        try:
            return await self._commit(commands)
        except postgres.SESSION_ENDED as error:
            if self._is_committing:
                raise
            logger.warning("the session of the log ended, the batch is tried again: %r", error)
            await self.disconnect()
            return await self._commit(commands)

    async def _commit(self, commands: Sequence[Command[Any]]) -> list[Outcome]:
        self._is_committing = False
        connection = await self.session()
        if not connection.is_in_transaction() and self._common.may_go_without_lock(commands):
            try:
                return await self._commit_conditionally(connection, commands)
            except (conditional.NeedsLock, conditional.Lost):
                self._is_committing = False
        async with self._common.one_locked:
            while (outcomes := await self._commit_under_lock(connection, commands)) is None:
                pass
        return outcomes

    async def _commit_conditionally(self, connection: "Connection[Any]", commands: Sequence[Command[Any]]) -> list[Outcome]:
        """Append a batch if what it was decided on still stands."""
        common, sent = self._common, monotonic()

        def about_to_commit() -> None:
            nonlocal sent
            sent = monotonic()
            self._about_to_commit()

        commit = common.begin()
        try:
            outcomes, appended = await conditional.append(
                connection, common.registry, common.known, commands, common.chances, about_to_commit
            )
            if appended is not None:
                common.cadence.answered(sent, len(commands))
                await self._tell(commit, appended)
        finally:
            common.commits.remove(commit)
        return outcomes

    async def _commit_under_lock(self, connection: "Connection[Any]", commands: Sequence[Command[Any]]) -> list[Outcome] | None:
        """Decide a batch while nobody else can append; return None if that must be begun anew."""
        common = self._common
        if not connection.is_in_transaction():  # one begun with the last commit ends with its session
            await connection.execute("begin")
        if commands[0].seconds is not None:  # exclusive, and allowed to hold the head for longer than a batch of votes
            await connection.execute(store.ALLOW_SECONDS, f"{commands[0].seconds}s")
        try:
            outcomes, appended, room = await decide_and_append(connection, common.registry, common.known, commands)
        except ListingBehind:
            await connection.execute("rollback")
            await follow_all(connection, common.registry, common.known)
            return None
        except history.WentBack as error:
            await connection.execute("rollback")
            await history.note(connection, error.mark, "the log")
            common.known = Known(common.registry)
            return None
        self._about_to_commit()
        # If more commands wait, this commit begins their transaction too, which saves its `begin` a round trip.
        goes_on = (queued := common.queued()) and not common.may_go_without_lock(queued)
        commit = common.begin()
        try:
            await connection.execute("commit and chain" if goes_on else "commit")
            common.known.room = room  # not before: a part that was made goes with its transaction
            if appended is not None:
                await self._tell(commit, appended)
        finally:
            common.commits.remove(commit)
        return outcomes

    async def _tell(self, commit: Commit, appended: Appended) -> None:
        """Tell what was committed, in the log's order."""
        if len(self._common.commits) > 1:
            await self._common.let_earlier_pass(commit, appended)
        self._common.tell(appended)

    def _about_to_commit(self) -> None:
        """Note that what is sent next may commit the batch."""
        self._is_committing = True
        if self._trace is not None:
            self._trace.committing()
