"""Fold the changes of verdicts in plain Python: one event at a time, each verdict compared with the one before."""

from collections import Counter
from typing import Any

from events import ballots
from events.catalog import (
    PanelReviewPublished,
    PanelReviewRevised,
    ToolAdded,
    ToolDescribed,
    ToolListed,
    ToolRenamed,
    ToolUnlisted,
)
from events.log.event import Event
from events.voters import VoterDisqualified, VoterReinstated
from projections.tally import changes, community
from tests.oracle.entries import Entry, Key, Row, Tables


class Verdicts:
    """Where each tool stands, and each change of a verdict."""

    concerns: tuple[type[Event], ...] = (
        ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised,
        *ballots.EVENTS, VoterDisqualified, VoterReinstated,
    )  # fmt: skip

    def __init__(self) -> None:
        self._standings: dict[Key, Row] = {}
        self._judgements: dict[Key, Row] = {}
        self._verdicts: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        match entry.event:
            case ToolAdded() as event:
                row = self._touch(event.tool, entry)
                row.update(category=event.category, listed=True, added=row["added"] or entry.position)
            case ToolRenamed() as event:
                self._touch(event.tool, entry)
            case ToolDescribed() as event:
                self._touch(event.tool, entry)["category"] = event.category
            case ToolListed() | ToolUnlisted() as event:
                self._touch(event.tool, entry)["listed"] = isinstance(event, ToolListed)
            case PanelReviewPublished() | PanelReviewRevised() as event:
                self._judge(event, entry)
            case event:
                for tool, ship, skip in changes(event):
                    self._count(tool, ship, skip, entry)

    def tables(self) -> Tables:
        """Return the rows."""
        told = {
            key: {**row, **{name: self._standings[key[0],][name] for name in ("category", "listed")}}
            for key, row in self._verdicts.items()
        }
        return {"standings": self._standings, "judgements": self._judgements, "verdicts": told}

    def _touch(self, tool: str, entry: Entry) -> Row:
        row: dict[str, Any] = self._standings.setdefault((tool,), {
            "tool": tool, "category": "", "listed": False, "added": 0, "ship": 0, "skip": 0, "panel_ship": 0, "panel_skip": 0,
            "panel": None, "community": None, "settled": None,
        })  # fmt: skip
        row.update(position=entry.position, changed_at=entry.recorded_at)
        return row

    def _judge(self, event: PanelReviewPublished | PanelReviewRevised, entry: Entry) -> None:
        row = self._touch(event.tool, entry)
        self._judgements[event.tool, event.persona] = {
            "tool": event.tool, "persona": event.persona, "verdict": event.verdict
        }  # fmt: skip
        said = Counter(one["verdict"] for key, one in self._judgements.items() if key[0] == event.tool)
        row.update(panel_ship=said["ship"], panel_skip=said["skip"])
        lead = said["ship"] - said["skip"]
        self._call(row, "panel", "ship" if lead > 0 else "skip" if lead < 0 else "mixed", entry)

    def _count(self, tool: str, ship: int, skip: int, entry: Entry) -> None:
        row = self._touch(tool, entry)
        row.update(ship=row["ship"] + ship, skip=row["skip"] + skip)
        now = community(row["ship"], row["skip"])
        self._call(row, "community", now.verdict, entry)
        self._call(row, "settled", now.settled, entry)

    def _call(self, row: Row, kind: str, verdict: str | None, entry: Entry) -> None:
        if row[kind] != verdict:
            self._verdicts[row["tool"], kind, entry.position] = {
                "tool": row["tool"], "kind": kind, "position": entry.position, "recorded_at": entry.recorded_at,
                "before": row[kind], "after": verdict,
            }  # fmt: skip
            row[kind] = verdict
