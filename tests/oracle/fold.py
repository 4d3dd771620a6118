"""Fold the log in plain Python: what every projection's tables must hold, by the meaning of the events alone.

The oracle of the tests. It knows the tables and their columns and nothing of the SQL that fills them. It takes one event at a
time, in the log's order, and never sees the positions that a projection passes over.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from msgspec.structs import asdict

from events import ballots, bookmarks, catalog, subscribers
from events.ballots import VoteCast, VoteRetracted
from events.bookmarks import BookmarkRemoved, ToolBookmarked
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
    Verdict,
)
from events.erasure import PersonErased
from events.log.event import Event
from events.subscribers import BookmarksJoined, SubscriberImported, SubscriptionConfirmed, SubscriptionRequested
from events.voters import CorrectionRecorded, ToolCorrected, VoterDisqualified, VoterReinstated
from projections.tally import percent
from tests.oracle.entries import Entry, Fold, Key, Row, Tables
from tests.oracle.hours import Hours
from tests.oracle.integrity import Integrity
from tests.oracle.proof import Proof
from tests.oracle.reviews import Reviews
from tests.oracle.search import Search
from tests.oracle.verdicts import Verdicts


class Cards:
    """Tools, the panel's judgements, tallies, and announced pairs."""

    concerns: tuple[type[Event], ...] = (*catalog.EVENTS, *ballots.EVENTS, VoterDisqualified, VoterReinstated)

    def __init__(self) -> None:
        self._tools: dict[Key, Row] = {}
        self._panel: dict[Key, Row] = {}
        self._tallies: dict[Key, Row] = {}
        self._pairs: dict[Key, Row] = {}
        self._former: dict[Key, Row] = {}
        self._personas: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event, at = entry.event, entry.position
        if isinstance(event, ToolAdded | ToolRenamed | ToolListed | ToolUnlisted):
            self._tell_predecessors(event.tool, at)
        match event:
            case ToolAdded():
                self._tools[event.tool,] = {**asdict(event), "listed": True, "position": at}
                self._take_back(event.tool)
            case ToolRenamed():
                self._rename(event, at)
            case FormerSlugAdded():
                self._former[event.slug,] = {"slug": event.slug, "tool": event.tool, "position": at}
                self._take_back(event.tool)
            case PersonaDescribed():
                lists = {"excited_by": list(event.excited_by), "tired_of": list(event.tired_of)}
                lower = event.persona.lower()
                self._personas[lower,] = {**asdict(event), **lists, "lower": lower, "position": at}
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
        """Return the rows."""
        panel = {key: {**row, **self._told(key[0], "category", "listed")} for key, row in self._panel.items()}
        voted = {key: {**row, **self._told(key[0], "slug", "category", "listed")} for key, row in self._tallies.items()}
        unvoted = {key: {**self._told(key[0], "tool", "slug", "category", "listed"), **_NO_VOTES} for key in self._tools}
        return {
            "tools": self._tools,
            "former_slugs": self._former,
            "personas": self._personas,
            "places": {key: self._place(row, panel) for key, row in self._tools.items()},
            "panel": panel,
            "reviewers": _reviewers(panel.values()),
            "categories": _categories(self._tools.values()),
            "tallies": unvoted | voted,
            "pairs": self._pairs,
        }

    def _told(self, tool: str, *columns: str) -> Row:
        row = self._tools.get((tool,), {"slug": "", "category": "", "listed": False})
        return {column: row[column] for column in columns}

    def _place(self, tool: Row, panel: Mapping[Key, Row]) -> Row:
        verdicts = [row["verdict"] for key, row in panel.items() if key[0] == tool["tool"]]
        said = percent(verdicts.count("ship"), len(verdicts))
        return {
            **self._told(tool["tool"], "tool", "slug", "name", "category", "listed"),
            "panel_first": 1 if said is None else -said,
            "panel_second": -len(verdicts),
        }

    def _change(self, tool: str, changes: Row) -> None:
        if (row := self._tools.get((tool,))) is not None:
            row.update(changes)

    def _rename(self, event: ToolRenamed, at: int) -> None:
        if (row := self._tools.get((event.tool,))) is not None:
            self._former[row["slug"],] = {"slug": row["slug"], "tool": event.tool, "position": at}
            row.update(slug=event.slug, position=at)
            self._take_back(event.tool)

    def _take_back(self, tool: str) -> None:
        """A slug that a tool has is no former one."""
        if (row := self._tools.get((tool,))) is not None:
            self._former.pop((row["slug"],), None)

    def _tell_predecessors(self, tool: str, at: int) -> None:
        """A card names its successor by slug if that is listed, so it changes with it."""
        for row in self._tools.values():
            if row["successor"] == tool:
                row["position"] = at

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


_NO_VOTES: Row = {"ship": 0, "skip": 0, "position": 0}


def _categories(tools: Iterable[Row]) -> dict[Key, Row]:
    counts = Counter(tool["category"] for tool in tools if tool["listed"])
    return {(category,): {"category": category, "tools": count} for category, count in counts.items()}


def _reviewers(panel: Iterable[Row]) -> dict[Key, Row]:
    listed = [row for row in panel if row["listed"]]
    reviewed = Counter((row["persona"], row["category"]) for row in listed)
    shipped = Counter((row["persona"], row["category"]) for row in listed if row["verdict"] == "ship")
    return {
        key: {"persona": key[0], "category": key[1], "reviewed": count, "shipped": shipped[key]}
        for key, count in reviewed.items()
    }


class Bookmarks:
    """The tools each visitor keeps."""

    concerns: tuple[type[Event], ...] = bookmarks.EVENTS

    def __init__(self) -> None:
        self._bookmarks: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        match event:
            case ToolBookmarked():
                self._bookmarks[event.visitor, event.tool] = {**asdict(event), "position": entry.position}
            case BookmarkRemoved():
                self._bookmarks.pop((event.visitor, event.tool), None)

    def tables(self) -> Tables:
        """Return the rows."""
        return {"bookmarks": self._bookmarks}


class Subscribers:
    """Subscribers that were not erased, and the visitors whose bookmarks each of them joined."""

    concerns: tuple[type[Event], ...] = (*subscribers.EVENTS, PersonErased)

    def __init__(self) -> None:
        self._states: dict[str, subscribers.Subscriber] = {}
        self._rows: dict[Key, Row] = {}
        self._visitors: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        if isinstance(event, PersonErased):
            self._forget(event.person)
        elif isinstance(event, subscribers.EVENTS):
            self._change(event.subscriber, event, entry)

    def tables(self) -> Tables:
        """Return the rows."""
        return {"subscribers": self._rows, "visitors": self._visitors}

    def _change(self, subscriber: str, event: Event, entry: Entry) -> None:
        state = subscribers.evolve(self._states.get(subscriber), event)
        if state is None or not state.address:  # its first event, which holds the address, was passed over
            return
        self._states[subscriber] = state
        row: dict[str, Any] = self._rows.setdefault((subscriber,), {"subscriber": subscriber, "confirmed_at": None})
        row.update(
            sealed_address=state.address,
            status=state.status,
            round=state.round,
            categories=list(state.categories),
            frequency=state.frequency,
            paused_until=date.fromisoformat(state.paused_until) if state.paused_until else None,
            suppressed=state.suppressed,
            sealed_zone=state.zone,
        )
        if not isinstance(event, BookmarksJoined):  # a joined visitor changes the other table alone
            row["position"] = entry.position
        if isinstance(event, (SubscriptionRequested, SubscriberImported)):
            row["requested_at"] = entry.recorded_at
        if isinstance(event, (SubscriptionConfirmed, SubscriberImported)):
            row["confirmed_at"] = entry.recorded_at
        for visitor in state.visitors:
            seen = {"subscriber": subscriber, "visitor": visitor, "position": entry.position}
            self._visitors.setdefault((subscriber, visitor), seen)

    def _forget(self, person: str) -> None:
        self._states.pop(person, None)
        self._rows.pop((person,), None)
        for key in [key for key in self._visitors if key[0] == person]:
            del self._visitors[key]


class Corrections:
    """Corrections, and the tallies that each changed."""

    concerns: tuple[type[Event], ...] = (CorrectionRecorded,)

    def __init__(self) -> None:
        self._corrections: dict[Key, Row] = {}
        self._tools: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        if not isinstance(event, CorrectionRecorded):
            return
        one = {"correction": event.correction, "action": event.action, "reason": event.reason, "voters": 0, "votes": 0}
        row = self._corrections.setdefault(
            (event.correction,), one | {"recorded_at": entry.recorded_at, "position": entry.position}
        )
        row["voters"] += event.voters
        row["votes"] += event.votes
        for tool in event.tools:
            self._correct(event.correction, tool)

    def _correct(self, correction: str, tool: ToolCorrected) -> None:
        before, after = tool.before, tool.after
        row = self._tools.setdefault(
            (correction, tool.tool),
            {"correction": correction, "tool": tool.tool, "before_ship": before[0], "before_skip": before[1],
             "after_ship": before[0], "after_skip": before[1]},
        )  # fmt: skip
        row["after_ship"] += after[0] - before[0]
        row["after_skip"] += after[1] - before[1]

    def tables(self) -> Tables:
        """Return the rows."""
        return {"corrections": self._corrections, "corrected_tools": self._tools}


FOLDS: Mapping[str, type[Fold]] = {
    "cards": Cards,
    "hours": Hours,
    "bookmarks": Bookmarks,
    "reviews": Reviews,
    "subscribers": Subscribers,
    "corrections": Corrections,
    "verdicts": Verdicts,
    "integrity": Integrity,
    "search": Search,
    "proof": Proof,
}


def fold(entries: Iterable[Entry], dropped: Mapping[str, Collection[int]]) -> dict[str, Tables]:
    """Return every projection's tables after these entries, in the log's order, without the positions `dropped` for each."""
    folds = {name: begin() for name, begin in FOLDS.items()}
    for entry in entries:
        for name, view in folds.items():
            if entry.position not in dropped.get(name, ()):
                view.take(entry)
    return {name: view.tables() for name, view in folds.items()}
