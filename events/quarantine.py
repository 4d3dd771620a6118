"""Quarantine: the events that an operator lets a halted projection pass."""

from collections.abc import Iterable, Mapping, Set
from typing import Final
from uuid import UUID

from events.log import ids
from events.log.event import Event


class EventDropped(Event, frozen=True, kw_only=True):
    """A projection passes over one position of the log, live and in every rebuild."""

    projection: str
    position: int
    reason: str


EVENTS = (EventDropped,)

WHOLE: Final = frozenset({"proof"})
"""Projections that are whole or nothing: the tree over the public log has a leaf for every event."""


class NotHalted(Exception):
    """No projection has halted at this position."""


class NothingPassed(Exception):
    """A projection that can pass over nothing stays halted until a release knows the event; the argument is its name."""


def stream(projection: str) -> UUID:
    """Return the stream of the events that a projection passes over."""
    return ids.stream_named("quarantine", projection)


def can_pass(projections: Iterable[str]) -> list[str]:
    """Return those of these projections that can pass over an event. Raises NothingPassed if there are others alone."""
    named = list(projections)
    able = [projection for projection in named if projection not in WHOLE]
    if named and not able:
        raise NothingPassed(", ".join(named))
    return able


def drop_event(dropped: Mapping[str, Set[int]], position: int, reason: str) -> list[EventDropped]:
    """Let projections pass a position, given those that each passes over already; a second time is no event.

    Raises NotHalted when no projection is named, NothingPassed when none of them can.
    """
    if not dropped:
        raise NotHalted(str(position))
    return [
        EventDropped(projection=projection, position=position, reason=reason)
        for projection in can_pass(dropped)
        if position not in dropped[projection]
    ]
