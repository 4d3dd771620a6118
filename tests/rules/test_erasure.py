"""What the rule of a visitor's erasure promises."""

from events import reviews
from events.bookmarks import BookmarkRemoved
from events.erasure import PersonErased, erase_visitor
from events.log.event import Event
from events.reports import ReportWithdrawn, ReviewReported
from events.reviews import Review, ReviewCleared, ReviewSubmitted, ReviewWithdrawn
from tests.support.given import an_id

ADA, TOOL, OTHER, FIRST, SECOND = (an_id(n) for n in range(1, 6))
ERASED = PersonErased(person=ADA)


def written(review: str, tool: str, *events: Event) -> Review:
    state = reviews.begin(
        ReviewSubmitted(review=review, visitor=ADA, tool=tool, verdict="ship", score=None, text="sealed", name=None)
    )
    for event in events:
        state = reviews.evolve(state, event) or state
    return state


def test_all_that_was_written_goes() -> None:
    """Every review is withdrawn and every bookmark removed, and the erasure is recorded last."""
    found = [written(FIRST, TOOL), written(SECOND, OTHER)]
    assert erase_visitor(ADA, found, [TOOL, OTHER], known=True, erased=False) == [
        ReviewWithdrawn(review=FIRST),
        ReviewCleared(visitor=ADA, tool=TOOL, review=FIRST),
        ReviewWithdrawn(review=SECOND),
        ReviewCleared(visitor=ADA, tool=OTHER, review=SECOND),
        BookmarkRemoved(visitor=ADA, tool=TOOL),
        BookmarkRemoved(visitor=ADA, tool=OTHER),
        ERASED,
    ]


def test_reports_go_too() -> None:
    """What a visitor reported is withdrawn, and a report alone is reason enough to erase again."""
    reported = ReviewReported(report=FIRST, visitor=ADA, review=SECOND, ground="fake", words="sealed")
    gone = ReportWithdrawn(report=FIRST, visitor=ADA, review=SECOND)
    assert erase_visitor(ADA, [], [], [reported], known=True, erased=True) == [gone, ERASED]


def test_who_only_voted_is_recorded_as_erased() -> None:
    """A visitor whose only events are votes is erased once: the votes stay."""
    assert erase_visitor(ADA, [], [], known=True, erased=False) == [ERASED]


def test_twice_is_no_event() -> None:
    """An erasure after which nothing was written is not repeated."""
    assert erase_visitor(ADA, [], [], known=True, erased=True) == []


def test_what_was_written_since_goes_too() -> None:
    """A visitor who comes back can be erased again."""
    assert erase_visitor(ADA, [], [TOOL], known=True, erased=True) == [BookmarkRemoved(visitor=ADA, tool=TOOL), ERASED]


def test_a_visitor_without_events_is_no_event() -> None:
    """Of whom the log knows nothing, it records nothing."""
    assert erase_visitor(ADA, [], [], known=False, erased=False) == []
