"""What a command is: a request that the log decides inside the batch that will hold its events.

The log asks a command what it `reads`, reads that under the head's lock, and hands it to `decide`. A command is a frozen value
and keeps no state between the two. It is the little that lies between a pure rule and the log.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.log.event import Event, Recorded

V = TypeVar("V")


# `gc=False`, here and on what else a vote makes: nothing in these leads back to them, so no circle is looked for.
class Reads(msgspec.Struct, frozen=True, gc=False):
    """The streams a command needs: the last event of each in `lasts`, every event of each in `wholes`."""

    lasts: Sequence[UUID] = ()
    wholes: Sequence[UUID] = ()


class Found(msgspec.Struct, frozen=True):
    """The result of a look-up. `events` are the last ones of streams that were found, and that the command may append to."""

    value: Any
    events: Sequence[Recorded[Any]] = ()


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What the log holds for one command: `lasts` and `wholes` in the order of `reads`, None or empty where there is no event.

    Events decided earlier in the same batch are in it. `found` is the value of the command's look-up.
    """

    listing: Any
    reads: Reads
    lasts: Sequence[Recorded[Any] | None]
    wholes: Sequence[Sequence[Recorded[Any]]]
    found: Any


class Effect(msgspec.Struct, frozen=True):
    """A statement that must happen in the transaction of the events, such as the destruction of a key."""

    sql: str
    args: tuple[Any, ...] = ()


class Decision(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """A rule's decision: events with their streams, the caller's answer, and the effects that go with them.

    `position` is that of the last earlier event concerned; the receipt names it when nothing is appended.
    """

    events: Sequence[tuple[UUID, Event]]
    value: V
    position: int | None = None
    effects: Sequence[Effect] = ()
    meta: dict[str, Any] | None = None


class Receipt(msgspec.Struct, Generic[V], frozen=True, gc=False):
    """The answer to a command: the position of the last event concerned, the number of events appended, the rule's value."""

    position: int | None
    appended: int
    value: V


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A caller's key, scoped to that caller, with a fingerprint of the request it came with."""

    scope: str
    key: str
    fingerprint: bytes


class Command(msgspec.Struct, Generic[V], frozen=True, kw_only=True, gc=False):
    """A request to the log: subclasses name what they read and decide on it; `decide` never sees a connection.

    An `exclusive` command is a batch of its own and may look things up with SQL under the head's lock. A large one (`is_large`)
    is decided without the lock, and again if anything has moved in the streams that it names.
    """

    exclusive: ClassVar[bool] = False
    seconds: ClassVar[float | None] = None
    """How long the command may take in all, queue included; None is the committer's own patience."""
    receipt_type: ClassVar[Any] = Receipt[None]
    looks_beside: ClassVar[bool] = False
    """Whether a look-up reads the streams beside those that the command names, too: all that their owners have."""

    key: IdempotencyKey | None = None

    @property
    def is_large(self) -> bool:
        """Whether it may append so many events that others must not wait while they are decided."""
        return False

    def reads(self, listing: Any) -> Reads:
        """Name the streams to read. The log may ask twice: once more when the listing turns out to be out of date."""
        return Reads()

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read more, under the head's lock unless the command is large; called for exclusive commands only."""
        return Found(None)

    async def finds_the_same(self, connection: "Connection[Any]", found: Any) -> bool:
        """Check, under the head's lock, that a large command's look-up still holds; else it is decided anew."""
        return True

    def decide(self, seen: Seen) -> Decision[V]:
        """Decide on the events; raise a domain error to refuse."""
        raise NotImplementedError

    async def conclude(self, connection: "Connection[Any]", value: V) -> Decision[V] | None:
        """Decide under the head's lock on a large command's last events, given the value of `decide`; None for no more."""
        return None
