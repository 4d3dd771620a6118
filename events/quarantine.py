"""Quarantine: the events that an operator lets a halted projection pass."""

from collections.abc import Mapping, Set
from uuid import UUID

from events.log import ids
from events.log.event import Event


class EventDropped(Event, frozen=True, kw_only=True):
    """A projection passes over one position of the log, live and in every rebuild."""

    projection: str
    position: int
    reason: str


EVENTS = (EventDropped,)


class NotHalted(Exception):
    """No projection has halted at this position."""


def stream(projection: str) -> UUID:
    """Return the stream of the events that a projection passes over."""
    return ids.stream_named("quarantine", projection)


def drop_event(dropped: Mapping[str, Set[int]], position: int, reason: str) -> list[EventDropped]:
    """Let projections pass a position, given those that each passes over already; a second time is no event.

    Raises NotHalted when no projection is named.
    """
    if not dropped:
        raise NotHalted(str(position))
    return [
        EventDropped(projection=projection, position=position, reason=reason)
        for projection, positions in dropped.items()
        if position not in positions
    ]
