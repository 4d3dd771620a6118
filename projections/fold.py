"""The log folded in plain Python: what every view must hold, told from the events' meaning alone.

The oracle of `verify` and the tests. It knows the views' tables and columns and nothing of their SQL. One event at a time, in
the log's order; positions that a projection passes over are never shown to it.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from msgspec.structs import asdict

from events import ballots, bookmarks, catalog, reviews
from events.ballots import VoteCast, VoteRetracted
from events.bookmarks import BookmarkRemoved, ToolBookmarked
from events.catalog import (
    ComparisonAnnounced,
    PanelReviewPublished,
    PanelReviewRevised,
    ToolAdded,
    ToolDescribed,
    ToolListed,
    ToolUnlisted,
    Verdict,
)
from events.log.event import Event
from events.reviews import ReviewApproved, ReviewEdited, ReviewRejected, ReviewSubmitted, ReviewWithdrawn
from events.voters import VoterDisqualified, VoterReinstated
from projections.corrections import Corrections
from projections.subscribers import Subscribers

Key = tuple[Any, ...]
Row = dict[str, Any]
Tables = dict[str, dict[Key, Row]]
Change = tuple[Key, int, int]
Later = ReviewEdited | ReviewApproved | ReviewRejected | ReviewWithdrawn


class Entry(msgspec.Struct, frozen=True):
    """What a fold needs of a recorded event; `recorded_at` knows its zone."""

    position: int
    recorded_at: datetime
    event: Event


class Fold(Protocol):
    """A view in the making."""

    concerns: tuple[type[Event], ...]

    def take(self, entry: Entry) -> None:
        """Take in the next event; one that the view does not concern changes nothing."""

    def tables(self) -> Tables:
        """Give each table's rows, with all their columns, by primary key."""


class Cards:
    """Tools, the panel's judgements, tallies, and announced pairs."""

    concerns: tuple[type[Event], ...] = (*catalog.EVENTS, *ballots.EVENTS, VoterDisqualified, VoterReinstated)

    def __init__(self) -> None:
        self._tools: dict[Key, Row] = {}
        self._panel: dict[Key, Row] = {}
        self._tallies: dict[Key, Row] = {}
        self._pairs: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Take in the next event."""
        event, at = entry.event, entry.position
        match event:
            case ToolAdded():
                self._tools[event.tool,] = {**asdict(event), "listed": True, "position": at}
            case ToolDescribed():
                self._change(event.tool, {**asdict(event), "position": at})
            case ToolListed():
                self._change(event.tool, {"listed": True, "position": at})
            case ToolUnlisted():
                self._change(event.tool, {"listed": False, "position": at})
            case PanelReviewPublished() | PanelReviewRevised():
                self._judge(event, at)
            case ComparisonAnnounced():
                self._pairs[event.left, event.right] = {"left_tool": event.left, "right_tool": event.right, "position": at}
            case VoteCast():
                self._count(event.tool, event.previous, -1, at)
                self._count(event.tool, event.choice, 1, at)
            case VoteRetracted():
                self._count(event.tool, event.previous, -1, at)
            case VoterDisqualified() | VoterReinstated():
                sign = 1 if isinstance(event, VoterReinstated) else -1
                for tool, choice in event.ballots:
                    self._count(tool, choice, sign, at)

    def tables(self) -> Tables:
        """Give the rows."""
        return {"tools": self._tools, "panel": self._panel, "tallies": self._tallies, "pairs": self._pairs}

    def _change(self, tool: str, changes: Row) -> None:
        if (row := self._tools.get((tool,))) is not None:
            row.update(changes)

    def _judge(self, event: PanelReviewPublished | PanelReviewRevised, at: int) -> None:
        key = (event.tool, event.persona)
        earlier = self._panel.get(key)
        first = at if earlier is None else earlier["first_position"]
        self._panel[key] = {**asdict(event), "first_position": first, "position": at}

    def _count(self, tool: str, choice: Verdict | None, sign: int, at: int) -> None:
        row = self._tallies.setdefault((tool,), {"tool": tool, "ship": 0, "skip": 0, "position": at})
        row["position"] = at
        if choice is not None:
            row[choice] += sign


class Hours:
    """Changes of tallies by hour: as counted then, and corrected, by the votes of those alone who are allowed at the end."""

    concerns: tuple[type[Event], ...] = (*ballots.EVENTS, VoterDisqualified, VoterReinstated)

    def __init__(self) -> None:
        self._hours: dict[Key, Row] = {}
        self._disqualified: dict[Key, Row] = {}
        self._votes: dict[str, list[Change]] = {}
        self._changes: dict[Change, Change] = {}

    def take(self, entry: Entry) -> None:
        """Take in the next event."""
        event = entry.event
        hour = entry.recorded_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        match event:
            case VoteCast():
                self._vote(event.voter, (event.tool, hour), event.choice, event.previous)
            case VoteRetracted():
                self._vote(event.voter, (event.tool, hour), None, event.previous)
            case VoterDisqualified():
                self._disqualified[event.voter,] = {"voter": event.voter}
                for tool, choice in event.ballots:
                    self._count((tool, hour), None, choice)
            case VoterReinstated():
                self._disqualified.pop((event.voter,), None)
                for tool, choice in event.ballots:
                    self._count((tool, hour), choice, None)

    def tables(self) -> Tables:
        """Give the rows."""
        hours = {key: {**row, "corrected_ship": 0, "corrected_skip": 0} for key, row in self._hours.items()}
        for voter, changes in self._votes.items():
            if (voter,) not in self._disqualified:
                for key, ship, skip in changes:
                    hours[key]["corrected_ship"] += ship
                    hours[key]["corrected_skip"] += skip
        return {"hours": hours, "disqualified": self._disqualified}

    def _vote(self, voter: str, key: Key, plus: Verdict | None, minus: Verdict | None) -> None:
        change = self._count(key, plus, minus)
        # A log has few different changes and many votes: one tuple for all that are alike.
        self._votes.setdefault(voter, []).append(self._changes.setdefault(change, change))

    def _count(self, key: Key, plus: Verdict | None, minus: Verdict | None) -> Change:
        row = self._hours.setdefault(key, {"tool": key[0], "hour": key[1], "ship": 0, "skip": 0})
        ship, skip = ((plus == choice) - (minus == choice) for choice in ("ship", "skip"))
        row["ship"] += ship
        row["skip"] += skip
        return key, ship, skip


class Bookmarks:
    """The tools each visitor keeps."""

    concerns: tuple[type[Event], ...] = bookmarks.EVENTS

    def __init__(self) -> None:
        self._bookmarks: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Take in the next event."""
        event = entry.event
        match event:
            case ToolBookmarked():
                self._bookmarks[event.visitor, event.tool] = {**asdict(event), "position": entry.position}
            case BookmarkRemoved():
                self._bookmarks.pop((event.visitor, event.tool), None)

    def tables(self) -> Tables:
        """Give the rows."""
        return {"bookmarks": self._bookmarks}


_NOT_PUBLIC: Row = {
    "public_revision": None,
    "public_verdict": None,
    "public_score": None,
    "public_sealed_text": None,
    "public_sealed_name": None,
    "public_position": None,
    "published_at": None,
}


class Reviews:
    """Readers' reviews that were not withdrawn: the current revision, and the public one.

    An approval of a revision that was passed over makes nothing public: what it would show was left out.
    """

    concerns: tuple[type[Event], ...] = reviews.EVENTS

    def __init__(self) -> None:
        self._reviews: dict[Key, Row] = {}
        self._revisions: dict[Key, dict[int, Row]] = {}

    def take(self, entry: Entry) -> None:
        """Take in the next event."""
        event = entry.event
        if isinstance(event, ReviewSubmitted):
            self._submit(event, entry)
        elif isinstance(event, Later) and (row := self._reviews.get((event.review,))) is not None:
            self._go_on(row, event, entry)

    def tables(self) -> Tables:
        """Give the rows."""
        return {"reviews": self._reviews}

    def _submit(self, event: ReviewSubmitted, entry: Entry) -> None:
        said = _said(event)
        self._revisions[event.review,] = {1: said}
        self._reviews[event.review,] = {
            "review": event.review,
            "visitor": event.visitor,
            "tool": event.tool,
            "status": "pending",
            "revision": 1,
            **said,
            "submitted_position": entry.position,
            "submitted_at": entry.recorded_at,
            "position": entry.position,
            **_NOT_PUBLIC,
        }

    def _go_on(self, row: Row, event: Later, entry: Entry) -> None:
        key = (event.review,)
        row["position"] = entry.position
        match event:
            case ReviewEdited():
                self._revisions[key][event.revision] = _said(event)
                row.update({**_said(event), "revision": event.revision, "status": "pending"})
            case ReviewApproved():
                row["status"] = "approved"
                if (said := self._revisions[key].get(event.revision)) is not None:
                    row.update({f"public_{column}": value for column, value in said.items()})
                    row["public_revision"] = event.revision
                    row["public_position"] = entry.position
                    row["published_at"] = entry.recorded_at
            case ReviewRejected():
                row["status"] = "rejected"
                if row["public_revision"] == event.revision:
                    row.update(_NOT_PUBLIC)
            case ReviewWithdrawn():
                del self._reviews[key], self._revisions[key]


def _said(event: ReviewSubmitted | ReviewEdited) -> Row:
    return {"verdict": event.verdict, "score": event.score, "sealed_text": event.text, "sealed_name": event.name}


FOLDS: Mapping[str, type[Fold]] = {
    "cards": Cards,
    "hours": Hours,
    "bookmarks": Bookmarks,
    "reviews": Reviews,
    "subscribers": Subscribers,
    "corrections": Corrections,
}


def fold(entries: Iterable[Entry], dropped: Mapping[str, Collection[int]]) -> dict[str, Tables]:
    """Fold entries, in the log's order, into every projection's tables, without the positions `dropped` for each."""
    folds = {name: begin() for name, begin in FOLDS.items()}
    for entry in entries:
        for name, view in folds.items():
            if entry.position not in dropped.get(name, ()):
                view.take(entry)
    return {name: view.tables() for name, view in folds.items()}
