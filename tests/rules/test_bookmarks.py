"""What the rules of bookmarks promise."""

from events import bookmarks
from events.bookmarks import BookmarkRemoved, ToolBookmarked, set_bookmark
from events.erasure import PersonErased
from tests.support.given import an_id, given

VISITOR, TOOL = an_id(1), an_id(2)
KEPT = ToolBookmarked(visitor=VISITOR, tool=TOOL)
LET_GO = BookmarkRemoved(visitor=VISITOR, tool=TOOL)


def test_a_tool_is_kept() -> None:
    """Keeping a tool records it, also after it was let go."""
    given(bookmarks.evolve, False).when(set_bookmark, VISITOR, TOOL, True).then(KEPT)
    given(bookmarks.evolve, False, KEPT, LET_GO).when(set_bookmark, VISITOR, TOOL, True).then(KEPT)


def test_a_kept_tool_is_let_go() -> None:
    """Letting a kept tool go records it."""
    given(bookmarks.evolve, False, KEPT).when(set_bookmark, VISITOR, TOOL, False).then(LET_GO)


def test_no_change_is_no_event() -> None:
    """Keeping what is kept, or letting go what is not, is no event."""
    given(bookmarks.evolve, False, KEPT).when(set_bookmark, VISITOR, TOOL, True).then()
    given(bookmarks.evolve, False).when(set_bookmark, VISITOR, TOOL, False).then()
    given(bookmarks.evolve, False, KEPT, LET_GO).when(set_bookmark, VISITOR, TOOL, False).then()


def test_other_events_leave_it() -> None:
    """An event of another type changes nothing, whatever the state."""
    assert bookmarks.evolve(True, PersonErased(person=VISITOR)) is True
    assert bookmarks.evolve(False, PersonErased(person=VISITOR)) is False
