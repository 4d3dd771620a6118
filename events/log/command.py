"""What a command is: something asked of the log, decided inside the batch that will hold its events."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.catalog import Listing
from events.log.event import Event, Recorded, UnknownEvent

V = TypeVar("V")


class View:
    """The log as a command may see it: the streams it named, as they stand under the head's lock, and the listing.

    Events decided earlier in the same batch are already in it.
    """

    __slots__ = ("_lasts", "_unreadable", "_wholes", "listing")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._lasts: dict[UUID, Recorded[Any]] = {}
        self._wholes: dict[UUID, list[Recorded[Any]]] = {}
        self._unreadable: dict[UUID, UnknownEvent] = {}

    def last(self, stream: UUID) -> Recorded[Any] | None:
        """Give a stream's last event, None if it has none; UnknownEvent if a later release wrote it."""
        if self._unreadable and (error := self._unreadable.get(stream)) is not None:
            raise error
        return self._lasts.get(stream)

    def whole(self, stream: UUID) -> Sequence[Recorded[Any]]:
        """Give all events of a stream that the command named in `wholes`; UnknownEvent if a later release wrote one."""
        if (error := self._unreadable.get(stream)) is not None:
            raise error
        return self._wholes[stream]

    def expect(self, wholes: Sequence[UUID]) -> None:
        """Make room for streams to be read whole."""
        for stream in wholes:
            self._wholes.setdefault(stream, [])

    def give_up(self, stream: UUID, error: UnknownEvent) -> None:
        """Remember that a stream cannot be read, so that only those who ask for it are refused."""
        self._unreadable[stream] = error

    def take(self, recorded: Recorded[Any]) -> None:
        """Take in an event that was read or has just been decided."""
        self._lasts[recorded.stream] = recorded
        whole = self._wholes.get(recorded.stream)
        if whole is not None:
            whole.append(recorded)


class Effect(msgspec.Struct, frozen=True):
    """A statement that must happen in the transaction of the events, such as the destruction of a key."""

    sql: str
    args: tuple[Any, ...] = ()


class Decision(msgspec.Struct, Generic[V], frozen=True):
    """What a rule decided: events with their streams, what the caller is told, and what goes with them.

    `position` is that of the last earlier event concerned; it is the receipt's when nothing is appended.
    """

    events: Sequence[tuple[UUID, Event]]
    value: V
    position: int | None = None
    effects: Sequence[Effect] = ()
    meta: dict[str, Any] | None = None


class Receipt(msgspec.Struct, Generic[V], frozen=True):
    """What came of a command: the position of the last event concerned, how many were appended, and the rule's answer."""

    position: int | None
    appended: int
    value: V


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A caller's key, whose (a visitor's or an operator's), and a fingerprint of all that was asked with it."""

    scope: str
    key: str
    fingerprint: bytes


class Command(Generic[V]):
    """Something asked of the log. A subclass says what it must read and decides; it never sees a connection.

    An `exclusive` command is a batch of its own and may look things up with SQL under the head's lock.
    """

    __slots__ = ("key",)
    exclusive = False
    seconds: float | None = None
    """How long the command may take in all, queue included; None is the committer's own patience."""
    receipt_type: Any = Receipt[None]

    def __init__(self, key: IdempotencyKey | None = None) -> None:
        self.key = key

    def lasts(self, listing: Listing) -> Sequence[UUID]:
        """Name the streams whose last event says all there is to know."""
        return ()

    def wholes(self, listing: Listing) -> Sequence[UUID]:
        """Name the streams to be read from their beginning."""
        return ()

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Read more under the head's lock; called for exclusive commands only."""

    def decide(self, view: View) -> Decision[V]:
        """Decide on the events; raise a domain error to refuse."""
        raise NotImplementedError
