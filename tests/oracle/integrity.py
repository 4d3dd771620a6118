"""Fold the counts that the detector of bought votes starts from, in plain Python."""

from datetime import UTC, datetime, timedelta

from events import integrity
from events.ballots import VoteCast
from events.catalog import ComparisonAnnounced, ToolAdded
from events.integrity import CohortCorrected, CohortDecided, VoidProposed, VoidWithdrawn
from events.log import ids
from events.log.event import Event
from tests.oracle.entries import Entry, Key, Row, Tables

Decided = VoidProposed | VoidWithdrawn | CohortDecided | CohortCorrected


class Integrity:
    """Counts of votes in ten minutes, those of young visitors among them, for 43 days up to the day of the last vote."""

    concerns: tuple[type[Event], ...] = (VoteCast, ToolAdded, ComparisonAnnounced, *integrity.EVENTS)

    def __init__(self) -> None:
        self._votes: list[tuple[VoteCast, datetime, int]] = []
        self._announcements: dict[Key, Row] = {}
        self._decisions: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        match entry.event:
            case VoteCast():
                self._votes.append((entry.event, entry.recorded_at, entry.position))
            case ToolAdded(tool=tool):
                self._announce(tool, entry)
            case ComparisonAnnounced(left=left, right=right):
                self._announce(left, entry)
                self._announce(right, entry)
            case VoidProposed() | VoidWithdrawn() | CohortDecided() | CohortCorrected():
                self._decide(entry.event, entry)

    def tables(self) -> Tables:
        """Return the rows."""
        same = {"decisions": self._decisions}
        if not self._votes:
            return {"cells": {}, "ticks": {}, "announcements": self._announcements, "kept": {}} | same
        last = self._votes[-1][1].astimezone(UTC)
        since = last.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=43)
        cells: dict[Key, Row] = {}
        ticks: dict[Key, Row] = {}
        gone = {"only_row": True, "since": since, "gone": 0}
        for vote, recorded_at, position in self._votes:
            young = int(recorded_at - _made_at(vote.voter) < timedelta(minutes=10))
            at = recorded_at.astimezone(UTC).replace(minute=recorded_at.minute // 10 * 10, second=0, microsecond=0)
            if at < since:
                gone["gone"] += 1
            else:
                _count_cell(cells, ticks, vote, at, young, position)
        announced = {key: row for key, row in self._announcements.items() if row["at"] >= since}
        return {"cells": cells, "ticks": ticks, "announcements": announced, "kept": {(True,): gone}} | same

    def _decide(self, event: Decided, entry: Entry) -> None:
        fields = (
            "cohort", "tool", "choice", "begins", "ends", "first_position", "last_position", "votes", "voters", "reason", "by",
            "correction",
        )  # fmt: skip
        before = self._decisions.get((event.cohort,), {"undone": 0})
        undone = int(isinstance(event, CohortDecided) and event.decision == "undo")
        self._decisions[event.cohort,] = {field: getattr(event, field) for field in fields} | {
            "status": integrity.decided(event), "undone": before["undone"] + undone, "version": entry.version,
            "position": entry.position, "decided_at": entry.recorded_at,
        }  # fmt: skip

    def _announce(self, tool: str, entry: Entry) -> None:
        key = (tool, entry.position)
        self._announcements[key] = {"tool": tool, "position": entry.position, "at": entry.recorded_at}


def _made_at(voter: str) -> datetime:
    return datetime.fromtimestamp(int.from_bytes(ids.to_bytes(voter)[:6], "big") / 1000, UTC)


def _count_cell(cells: dict[Key, Row], ticks: dict[Key, Row], vote: VoteCast, at: datetime, young: int, position: int) -> None:
    counts = dict.fromkeys(("ship", "skip", "young_ship", "young_skip"), 0)
    cell = cells.setdefault((vote.tool, at), {"tool": vote.tool, "at": at, **counts, "first_position": position})
    cell[vote.choice] += 1
    cell[f"young_{vote.choice}"] += young
    cell["last_position"] = position
    tick = ticks.setdefault((at,), {"at": at, "votes": 0, "young": 0})
    tick["votes"] += 1
    tick["young"] += young
    tick["last_position"] = position
