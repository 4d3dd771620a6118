"""What is kept of a visitor's bookmarks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from events.bookmarks import BookmarkRemoved, ToolBookmarked, evolve
from services.person.kept import Kept
from services.person.own import UNKNOWN, Told, ToolName

KEPT: Final = (
    Kept(
        name="Bookmarks",
        what="Which tools you keep, and when you kept or removed each.",
        about="visitors",
        when="bookmark",
        ground="asked",
        until="until you remove them; that they were there stays in the log",
        found="the visitor's number",
        fate="deleted",
        remains="In the log: that the number kept a tool, and removed it again.",
        copies="log",
        events=("ToolBookmarked", "BookmarkRemoved"),
        tables={"{bookmarks}.bookmarks": ""},
    ),
)


class BookmarkStep(msgspec.Struct, frozen=True):
    """A bookmark that was made, or removed."""

    position: int
    at: datetime
    kept: bool


class BookmarkCopy(msgspec.Struct, frozen=True):
    """Whether a visitor keeps a tool, and since when it did and did not."""

    tool: str | None
    name: str | None
    kept: bool
    history: list[BookmarkStep]


def bookmarks_of(told: Sequence[Told], tools: Mapping[str, ToolName]) -> list[BookmarkCopy]:
    """Return a visitor's bookmarks, removed ones too, the first first."""
    histories: dict[str, list[BookmarkStep]] = {}
    for one in told:
        if isinstance(one.event, ToolBookmarked | BookmarkRemoved):
            step = BookmarkStep(one.position, one.at, evolve(False, one.event))
            histories.setdefault(one.event.tool, []).append(step)
    return [BookmarkCopy(*tools.get(tool, UNKNOWN), steps[-1].kept, steps) for tool, steps in histories.items()]
