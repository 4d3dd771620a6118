"""What every event type is, and a registry of the types that a release knows.

A type's class name is the log's `type` column and is not repeated in `data`. Types evolve by adding fields with a default of
None; anything else raises `schema_version` and adds one step to the view `log.recorded_events`.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec

E_co = TypeVar("E_co", bound="Event", covariant=True)
S = TypeVar("S")


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A fact. Subclasses are named in the past tense.

    A field that may be None has that default and is left out of `data` when it is None: Python and SQL read an absent key as
    null, and a vote is 16 bytes shorter.
    """

    schema_version: ClassVar[int] = 1


class Recorded(msgspec.Struct, Generic[E_co], frozen=True, gc=False):
    """An event as the log holds it: its place in its stream (`version`, from 1) and in the log (`position`, from 1)."""

    stream: UUID
    version: int
    position: int
    event: E_co


class UnknownEvent(Exception):
    """An event's type or schema version is not known to this release: run the release that wrote it."""


class Listing(Protocol):
    """A small state that every command may see without naming a stream, folded from the few event types in `types`.

    Each process keeps it in memory, so it is told of `fields` alone; a batch brings it up to the head. `position` is that of
    the last event in it.
    """

    types: ClassVar[tuple[type[Event], ...]]
    fields: ClassVar[tuple[str, ...]]
    position: int

    def evolve(self, position: int, type_: str, *values: str | None) -> None:
        """Take in an event of one of `types`, by the values of `fields`."""


class NoListing:
    """The listing of a log whose commands need none."""

    types: ClassVar[tuple[type[Event], ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()
    position = 0

    def evolve(self, position: int, type_: str, *values: str | None) -> None:
        """Do nothing: no event reaches it."""


class Registry:
    """All event types of a release, with decoders for their data, and the listing that its commands see."""

    def __init__(self, types: tuple[type[Event], ...], listing: type[Listing] = NoListing) -> None:
        self.types = {t.__name__: t for t in types}
        self.known = [(t.__name__, t.schema_version) for t in types]
        self.listing = listing
        self._decoders: dict[tuple[str, int], msgspec.json.Decoder[Any]] = {
            (t.__name__, t.schema_version): msgspec.json.Decoder(t) for t in types
        }

    def decode(self, type_: str, schema_version: int, data: str | bytes) -> Event:
        """Decode `data` as `log.recorded_events` shows it. Raises UnknownEvent for a later release's type or version."""
        event: Event = self._decoder(type_, schema_version).decode(data)
        return event

    def must_know(self, type_: str, schema_version: int) -> None:
        """Raise UnknownEvent for a later release's type or version."""
        self._decoder(type_, schema_version)

    def _decoder(self, type_: str, schema_version: int) -> "msgspec.json.Decoder[Any]":
        decoder = self._decoders.get((type_, schema_version))
        if decoder is None:
            raise UnknownEvent(f"{type_} version {schema_version} is not known to this release")
        return decoder


def fold(evolve: Callable[[S | None, Event], S | None], events: Iterable[Recorded[Any]]) -> S | None:
    """Return the state that a stream's events make; None for an empty stream."""
    state: S | None = None
    for recorded in events:
        state = evolve(state, recorded.event)
    return state


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> str:
    """Return an event's data as JSON text."""
    return _encoder.encode(event).decode()
