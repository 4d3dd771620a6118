"""A batch that is decided without the head's lock, and appended if all that it was decided on still stands.

A batch guesses that nobody has written to its streams, which holds for most votes, and takes one round trip. The server answers
a wrong guess with what the streams hold, and the batch is decided on that. Decisions are those that the lock would lead to.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

from asyncpg import Connection, Record
from msgspec.structs import replace

from events.log import history, store
from events.log.command import Command, Reads, Receipt
from events.log.event import Registry
from events.log.transaction import Appended, Batch, Known, Outcome, decide, name

SMALL: Final = 8
"""Commands of a batch that is always decided on a guess: if it is wrong, two round trips are still half of the locked way's.

A larger one is decided on a guess while guesses are right.
"""

SHORTEST_REST: Final = 1.0
LONGEST_REST: Final = 64.0
"""Seconds of rest after a failure: twice as many after each, until it went well for as long."""


class Lost(Exception):
    """What the batch was decided on has moved twice: decide it under the head's lock."""


class NeedsLock(Exception):
    """The batch can't be appended conditionally: decide it under the head's lock."""


class Rest:
    """A pause after a failure, which grows while failures go on."""

    def __init__(self) -> None:
        self.seconds = SHORTEST_REST
        self._until = -LONGEST_REST

    @property
    def is_over(self) -> bool:
        """Whether it may be tried again."""
        return monotonic() >= self._until

    def begin(self) -> None:
        """Rest for twice as long as the last time, unless that went well for as long as it took."""
        now = monotonic()
        went_well = now - self._until > self.seconds
        self.seconds = SHORTEST_REST if went_well else min(2 * self.seconds, LONGEST_REST)
        self._until = now + self.seconds


class Chances:
    """Which batches are worth a conditional append, by how the last ones fared."""

    def __init__(self) -> None:
        self.lost = Rest()
        self.wrong = Rest()

    def good_for(self, size: int) -> bool:
        """Return whether a batch of so many commands is worth a try."""
        return self.lost.is_over and (size <= SMALL or self.wrong.is_over)

    def take_wrong(self, size: int) -> None:
        """Note that the guess about a batch of so many commands was wrong."""
        if size > SMALL:
            self.wrong.begin()


class _Draft:
    """A batch as decided on its streams' last events at `positions` (0: none), beginning above the head's position `start`."""

    def __init__(self, known: Known, commands: Sequence[Command[Any]], start: int) -> None:
        self.streams, self.named = name(commands, known.listing)
        self.listed = known.listing.position
        self.positions = [0] * len(self.streams)
        self.batch = Batch(known.listing, start)
        self.outcomes: list[Outcome] = []

    def take_look(self, registry: Registry, rows: Sequence[Record]) -> None:
        """Take in the last events that were found."""
        for row in rows:
            self.positions[row["n"] - 1] = row["position"]
            self.batch.past.take_row(registry, row, self.streams[row["n"] - 1])

    def decide(self, commands: Sequence[Command[Any]]) -> None:
        """Decide every command. Raises NeedsLock if they need more than last events, or do more than append."""
        if any(isinstance(reads, Reads) and reads.wholes for reads in self.named):
            raise NeedsLock
        self.outcomes = decide(self.batch, commands, self.named)
        if self.batch.effects or self.batch.listing_position is not None:
            raise NeedsLock

    def arguments(self, known: Known) -> tuple[Any, ...]:
        """Return the arguments of `store.APPEND_IF`."""
        batch = self.batch
        return (
            self.streams, self.positions, self.listed, batch.start if batch.is_joined else None, known.room,
            *history.place(known.mark), *batch.columns(),
        )  # fmt: skip

    def appended(self, row: Record) -> tuple[list[Outcome], Appended | None]:
        """Return what came of it, given the head's row: it may be above the batch's start."""
        batch, moved = self.batch, row["position"] - self.batch.start
        if not batch.events:
            return self.outcomes, None
        if moved:
            batch.events = [replace(recorded, position=recorded.position + moved) for recorded in batch.events]
            self.outcomes = [_moved(outcome, moved) for outcome in self.outcomes]
        mark = history.Mark(batch.position + moved, row["recorded_at"], batch.events[-1].stream)
        return self.outcomes, Appended(batch.events, mark)


def is_plain(command: Command[Any]) -> bool:
    """Return whether a command needs no more than the last events of streams: neither a look-up nor a caller's key."""
    return not command.exclusive and command.key is None


async def append(
    connection: "Connection[Any]",
    registry: Registry,
    known: Known,
    commands: Sequence[Command[Any]],
    chances: Chances,
    about_to_commit: Callable[[], None],
) -> tuple[list[Outcome], Appended | None]:
    """Decide a batch and append it, with no transaction begun; return the outcomes and what it appended.

    `about_to_commit` is called before each statement that may commit. Raises NeedsLock, Lost, and whatever the server raises.
    """
    draft = _Draft(known, commands, 0 if known.mark is None else known.mark.position)
    head, *rows = await _send(connection, draft, known, commands, about_to_commit)
    if head["recorded_at"] is None:
        # The rows are of streams that were named after one listing, which the other lane may bring up to the head meanwhile.
        if not head["holds"] or not head["extra"] == draft.listed == known.listing.position:
            raise NeedsLock
        chances.take_wrong(len(commands))
        draft = _Draft(known, commands, head["position"])
        draft.take_look(registry, rows)
        head, *_ = await _send(connection, draft, known, commands, about_to_commit)
        if head["recorded_at"] is None:
            chances.lost.begin()
            raise Lost
    return draft.appended(head)


async def _send(
    connection: "Connection[Any]",
    draft: _Draft,
    known: Known,
    commands: Sequence[Command[Any]],
    about_to_commit: Callable[[], None],
) -> list[Record]:
    draft.decide(commands)
    if draft.batch.position > known.room:  # parts are made under the lock
        raise NeedsLock
    if draft.batch.events:
        about_to_commit()
    rows: list[Record] = await connection.fetch(store.APPEND_IF, *draft.arguments(known))
    return rows


def _moved(outcome: Outcome, by: int) -> Outcome:
    """Return an outcome as of a head that has moved on: only events of the batch itself are elsewhere then."""
    if isinstance(outcome, Receipt) and outcome.appended and outcome.position is not None:
        return replace(outcome, position=outcome.position + by)
    return outcome
