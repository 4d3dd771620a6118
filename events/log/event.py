"""What every event type is, and the one list of all of them.

A type's class name is the log's `type` column and is not repeated in `data`. Types evolve by adding fields with a default of
None; anything else raises `schema_version` and adds one step to the view `log.recorded_events`.
"""

from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec

E_co = TypeVar("E_co", bound="Event", covariant=True)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact. Subclasses are named in the past tense. A field that may be None has that default and is left out when it is so:
    Python and SQL read an absent key as null, and a vote is 16 bytes shorter.
    """

    schema_version: ClassVar[int] = 1


class Recorded(msgspec.Struct, Generic[E_co], frozen=True):
    """An event as the log holds it: its place in its stream (`version`, from 1) and in the log (`position`, from 1)."""

    stream: UUID
    version: int
    position: int
    event: E_co


class UnknownEvent(Exception):
    """An event's type or schema version is not known to this release: run the release that wrote it."""


class Registry:
    """All event types of a release, with an encoder and decoders for their data."""

    def __init__(self, types: tuple[type[Event], ...]) -> None:
        self.types = {t.__name__: t for t in types}
        self.known = [(t.__name__, t.schema_version) for t in types]
        self._decoders: dict[tuple[str, int], msgspec.json.Decoder[Any]] = {
            (t.__name__, t.schema_version): msgspec.json.Decoder(t) for t in types
        }

    def decode(self, type_: str, schema_version: int, data: str | bytes) -> Event:
        """Decode `data` as the view `recorded_events` gives it; UnknownEvent for a type or version of a later release."""
        decoder = self._decoders.get((type_, schema_version))
        if decoder is None:
            raise UnknownEvent(f"{type_} version {schema_version} is not known to this release")
        event: Event = decoder.decode(data)
        return event


_encoder = msgspec.json.Encoder()


def encode(event: Event) -> str:
    """Encode an event's data as JSON text."""
    return _encoder.encode(event).decode()
