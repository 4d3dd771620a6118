"""The public log's own events: the keys that sign it, and that it began anew from an earlier state."""

from events.log.event import Event


class LogKeyAdded(Event, frozen=True, kw_only=True):
    """The log is signed with one more key; `vkey` is a verifier key of C2SP signed-note."""

    vkey: str


class LogRestarted(Event, frozen=True, kw_only=True):
    """Events that were signed are lost, and this log goes on without them, under an origin of its own.

    `former` is the origin before, `size` and `root` (base64) are those of its last signed tree. The first `common` events are
    the same in both; all others up to `size` are declared lost.
    """

    former: str
    size: int
    root: str
    common: int
    reason: str


EVENTS = (LogKeyAdded, LogRestarted)
