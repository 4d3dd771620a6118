"""Events that an operator let a halted projection pass."""

from uuid import UUID

from events.log import ids
from events.log.command import Command, Decision, View
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
    """Name the stream of what a projection passes over."""
    return ids.stream_named("quarantine", projection)


class DropEvent(Command[None]):
    """Let the projections that halted at a position pass it; a second time is no event."""

    __slots__ = ("operator", "position", "projections", "reason")

    def __init__(self, projections: list[str], position: int, reason: str, operator: str) -> None:
        super().__init__()
        self.projections = projections
        self.position = position
        self.reason = reason
        self.operator = operator

    def wholes(self, listing: object) -> list[UUID]:
        """Read what each projection passes over already."""
        return [stream(projection) for projection in self.projections]

    def decide(self, view: View) -> Decision[None]:
        """Decide; NotHalted when no projection is named."""
        if not self.projections:
            raise NotHalted(str(self.position))
        events: list[tuple[UUID, Event]] = []
        for projection in self.projections:
            dropped = {r.event.position for r in view.whole(stream(projection))}
            if self.position not in dropped:
                event = EventDropped(projection=projection, position=self.position, reason=self.reason)
                events.append((stream(projection), event))
        return Decision(events=events, value=None, meta={"operator": self.operator})
