"""The command to let halted projections pass an event."""

from events.log.command import Command, Decision, Reads, Seen
from events.quarantine import drop_event, stream


class DropEvent(Command[None], frozen=True):
    """Let the projections that halted at a position pass it."""

    projections: list[str]
    position: int
    reason: str
    operator: str

    def reads(self, listing: object) -> Reads:
        """Name the events that each projection already passes over."""
        return Reads(wholes=[stream(projection) for projection in self.projections])

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide by the rule. Raises NotHalted, NothingPassed."""
        dropped = [{recorded.event.position for recorded in whole} for whole in seen.wholes]
        events = drop_event(dict(zip(self.projections, dropped, strict=True)), self.position, self.reason)
        return Decision(
            events=[(stream(event.projection), event) for event in events], value=None, meta={"operator": self.operator}
        )
