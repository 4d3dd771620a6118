"""Build the tree over the public log in plain Python: entries by the meaning of their four shapes, leaves, and tiles."""

import json
from hashlib import sha256

from events.ballots import VoteCast, VoteRetracted, pseudonym
from events.catalog import (
    ComparisonAnnounced,
    FormerSlugAdded,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    ToolAdded,
    ToolDescribed,
    ToolListed,
    ToolRenamed,
    ToolUnlisted,
)
from events.log.event import Event
from events.log.export import line
from events.log.store import NO_META
from events.proof import LogKeyAdded, LogRestarted
from events.quarantine import EventDropped
from events.registry import REGISTRY
from events.voters import BallotsRestored, BallotsVoided, CorrectionRecorded
from projections.merkle import leaf_hash
from tests.oracle import merkle
from tests.oracle.entries import Entry, Tables

OPEN: tuple[type[Event], ...] = (
    ToolAdded, ToolDescribed, ToolRenamed, FormerSlugAdded, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised,
    PersonaDescribed, ComparisonAnnounced, CorrectionRecorded, BallotsVoided, BallotsRestored, EventDropped, LogKeyAdded,
    LogRestarted,
)  # fmt: skip
"""What strangers may read as it is stored."""


def entry_of(entry: Entry) -> bytes:
    """Return an event's public entry."""
    event, minute = entry.event, int(entry.recorded_at.timestamp()) // 60
    kind = type(event).__name__
    if isinstance(event, VoteCast | VoteRetracted):
        said = {"type": kind, "minute": minute, "tool": event.tool, "ballot": pseudonym(event.voter, event.tool)}
        if isinstance(event, VoteCast):
            said["choice"] = event.choice
        if event.previous is not None:
            said["previous"] = event.previous
        return json.dumps(said, separators=(",", ":")).encode()
    stored = entry.stored
    if isinstance(event, OPEN):
        return f'{{"type":"{kind}","minute":{minute},"data":'.encode() + bytes(stored.data) + b"}"
    sealed = {name: getattr(stored, name) for name in stored.__struct_fields__} | {"meta": NO_META}
    return f'{{"sealed":"{sha256(line(type(stored)(**sealed))).hexdigest()}"}}'.encode()


class Proof:
    """The tree's tiles, of every event's leaf."""

    concerns: tuple[type[Event], ...] = tuple(REGISTRY.types.values())

    def __init__(self) -> None:
        self._leaves: list[bytes] = []

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        self._leaves.append(leaf_hash(entry_of(entry)))

    def tables(self) -> Tables:
        """Return the rows."""
        tiles = merkle.tiles(self._leaves)
        return {"tiles": {(level, n): {"level": level, "n": n, "hashes": hashes} for (level, n), hashes in tiles.items()}}
