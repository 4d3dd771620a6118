"""Reports of readers' reviews: anybody may say once of a public review what is wrong with it.

A report's words are sealed under a key of its own, for moderators alone. Erasing its writer destroys that key.
"""

from uuid import UUID

from events.log import ids
from events.log.event import Event
from events.reviews import Ground, Review, ReviewNotFound


class ReviewReported(Event, frozen=True, kw_only=True):
    """A visitor reported a public review. `words` are sealed under the report's key."""

    report: str
    visitor: str
    review: str
    ground: Ground
    words: str | None = None


class ReportWithdrawn(Event, frozen=True, kw_only=True):
    """A report went with the person who wrote it, and its words were destroyed."""

    report: str
    visitor: str
    review: str


EVENTS = (ReviewReported, ReportWithdrawn)


def stream(visitor: str, review: str) -> UUID:
    """Return the stream of a visitor's one report of a review."""
    return ids.stream_beside(visitor, "report", review)


def report_review(last: Event | None, review: Review | None, tool: str, reported: ReviewReported) -> list[Event]:
    """Report a review of a tool, given the last event of the visitor's report of it; a second time is no event.

    Raises ReviewNotFound unless the review is public and of this tool.
    """
    if review is None or review.tool != tool or review.published is None:
        raise ReviewNotFound
    return [] if isinstance(last, ReviewReported) else [reported]


def withdraw_report(report: ReviewReported) -> ReportWithdrawn:
    """Withdraw a report."""
    return ReportWithdrawn(report=report.report, visitor=report.visitor, review=report.review)
