"""The tools a visitor keeps for later."""

from collections.abc import Sequence
from uuid import UUID

from events import voters
from events.catalog import Listing
from events.log import ids
from events.log.command import Command, Decision, IdempotencyKey, View
from events.log.event import Event


class ToolBookmarked(Event, frozen=True, kw_only=True):
    """A visitor kept a tool."""

    visitor: str
    tool: str


class BookmarkRemoved(Event, frozen=True, kw_only=True):
    """A visitor let a kept tool go."""

    visitor: str
    tool: str


EVENTS = (ToolBookmarked, BookmarkRemoved)


def evolve(kept: bool, event: Event) -> bool:
    """Tell whether the tool is kept after an event; the event alone says it."""
    match event:
        case ToolBookmarked():
            return True
        case BookmarkRemoved():
            return False
    return kept


def set_bookmark(kept: bool, visitor: str, tool: str, keep: bool) -> list[Event]:
    """Keep a tool or let it go; no change is no event."""
    if kept == keep:
        return []
    return [ToolBookmarked(visitor=visitor, tool=tool) if keep else BookmarkRemoved(visitor=visitor, tool=tool)]


def stream(visitor: str, tool: str) -> UUID:
    """Name the stream of a visitor's bookmark of a tool."""
    return ids.stream_beside(visitor, "bookmark", tool)


class SetBookmark(Command[None]):
    """Keep a listed tool, or let one go."""

    __slots__ = ("_bookmark", "_voter", "keep", "slug", "tool", "visitor")

    def __init__(self, visitor: str, slug: str, keep: bool, key: IdempotencyKey | None = None) -> None:
        super().__init__(key)
        self.visitor = visitor
        self.slug = slug
        self.keep = keep

    def lasts(self, listing: Listing) -> Sequence[UUID]:
        """Read the bookmark and the voter."""
        self.tool = listing.listed(self.slug)
        self._bookmark = stream(self.visitor, self.tool)
        self._voter = ids.stream_of(self.visitor)
        return (self._bookmark, self._voter)

    def decide(self, view: View) -> Decision[None]:
        """Decide by the rule; ToolNotListed, VoterIsDisqualified."""
        bookmark, voter = view.last(self._bookmark), view.last(self._voter)
        if voter is not None:
            voters.must_be_allowed(voter.event)
        kept = bookmark is not None and evolve(False, bookmark.event)
        events = set_bookmark(kept, self.visitor, self.tool, self.keep)
        return Decision(
            events=[(self._bookmark, event) for event in events],
            value=None,
            position=bookmark.position if bookmark is not None else None,
        )
