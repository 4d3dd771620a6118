"""Bookmarks: the tools a visitor keeps for later."""

from uuid import UUID

from events.log import ids
from events.log.event import Event


class ToolBookmarked(Event, frozen=True, kw_only=True):
    """A visitor bookmarked a tool."""

    visitor: str
    tool: str


class BookmarkRemoved(Event, frozen=True, kw_only=True):
    """A visitor removed a bookmark."""

    visitor: str
    tool: str


EVENTS = (ToolBookmarked, BookmarkRemoved)


def evolve(kept: bool, event: Event) -> bool:
    """Return whether the tool is bookmarked after an event; the event alone decides it."""
    match event:
        case ToolBookmarked():
            return True
        case BookmarkRemoved():
            return False
    return kept


def set_bookmark(kept: bool, visitor: str, tool: str, keep: bool) -> list[Event]:
    """Bookmark a tool or remove its bookmark; no change is no event."""
    if kept == keep:
        return []
    return [ToolBookmarked(visitor=visitor, tool=tool) if keep else BookmarkRemoved(visitor=visitor, tool=tool)]


def stream(visitor: str, tool: str) -> UUID:
    """Return the stream of a visitor's bookmark of a tool."""
    return ids.stream_beside(visitor, "bookmark", tool)
