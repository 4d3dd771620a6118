"""Which of several servers that take writes holds our log: pure, told from what each says of itself.

Copies of a server have its system identifier, and each promotion begins a new timeline: among copies the latest holds. The log
has an identity of its own beside it, which the database keeps (`log.identity`): it stays the same through a dump or an upgrade,
which make a new system, and no other site's log has it.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from events.log.hosts import Host


class Server(msgspec.Struct, frozen=True):
    """A server that takes writes. Timeline or system 0: it doesn't let us see which. Log None: it has none of this release."""

    host: Host
    system: int = 0
    timeline: int = 0
    log: UUID | None = None
    has_events: bool = False

    @property
    def family(self) -> int | UUID | None:
        """Return what it shares with its copies."""
        return self.system or self.log

    def has_left(self, other: "Server") -> bool:
        """Tell whether it took over from another."""
        return self.system == other.system and self.timeline > other.timeline > 0

    def is_strange_to(self, other: "Server") -> bool:
        """Tell whether it is no copy of another, and doesn't hold that one's log either."""
        if self.log is not None and self.log == other.log:
            return False
        return self.family != other.family and None not in (self.family, other.family)


class NotOne(Exception):
    """Servers that are no copies of each other take writes, and nothing tells which of them is meant."""

    def __init__(self, servers: Sequence[Server]) -> None:
        super().__init__(servers)
        self.servers = servers


def pick(servers: Sequence[Server], known: Server | None) -> Server:
    """Return the server to write to, the first of several that are alike; `known` is one that held our log. Raises NotOne.

    Copies of the known one come first, then servers that hold its log, then the only family with events.
    """
    ours = [one for one in servers if known is None or not one.is_strange_to(known)]
    if not ours:
        raise NotOne(servers)
    kin = [one for one in ours if known is not None and one.family == known.family] or ours
    if len({one.family for one in kin}) > 1:
        filled = {one.family for one in kin if one.has_events}
        if len(filled) != 1:
            raise NotOne(kin)
        kin = [one for one in kin if one.family in filled]
    return max(kin, key=lambda one: one.timeline)
