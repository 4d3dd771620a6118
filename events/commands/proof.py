"""The commands that say in the log itself who signs it, and that a new log was begun."""

from typing import Final

from events.log import ids
from events.log.command import Command, Decision, Reads, Seen
from events.proof import LogKeyAdded, LogRestarted

STREAM: Final = ids.stream_named("proof")
"""The stream of what the log says of itself."""


class AddLogKey(Command[None], frozen=True):
    """Announce a key that signs the log from now on; a second time is no event."""

    vkey: str
    operator: str

    def reads(self, listing: object) -> Reads:
        """Name what the log said of itself so far."""
        return Reads(wholes=[STREAM])

    def decide(self, seen: Seen) -> Decision[None]:
        """Announce the key."""
        event = LogKeyAdded(vkey=self.vkey)
        return _once(seen, event, self.operator)


class RestartLog(Command[None], frozen=True):
    """Say that a log ended, how large it was signed, and how much of it the next begins with; a second time is no event."""

    former: str
    size: int
    root: str
    common: int
    reason: str
    operator: str

    def reads(self, listing: object) -> Reads:
        """Name what the log said of itself so far."""
        return Reads(wholes=[STREAM])

    def decide(self, seen: Seen) -> Decision[None]:
        """Say it."""
        event = LogRestarted(former=self.former, size=self.size, root=self.root, common=self.common, reason=self.reason)
        return _once(seen, event, self.operator)


def _once(seen: Seen, event: LogKeyAdded | LogRestarted, operator: str) -> Decision[None]:
    """Record an event unless it was recorded before; the position is that of the one that stands."""
    same = [recorded.position for recorded in seen.wholes[0] if recorded.event == event]
    if same:
        return Decision(events=[], value=None, position=same[-1])
    return Decision(events=[(seen.reads.wholes[0], event)], value=None, meta={"operator": operator})
