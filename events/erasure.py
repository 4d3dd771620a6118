"""Erasure of a person: its texts go, its votes and scores stay.

A visitor's reviews and reports are withdrawn and its bookmarks removed. A ballot holds a choice under an id that names nobody,
so ballots stay and no tally changes.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from events.bookmarks import BookmarkRemoved
from events.log import ids
from events.log.event import Event
from events.reports import ReviewReported, withdraw_report
from events.reviews import Review, withdraw_review


class PersonErased(Event, frozen=True, kw_only=True):
    """A person's texts were destroyed; votes and scores still count. `person` is a visitor's or a subscriber's id."""

    person: str


class DataRequested(Event, frozen=True, kw_only=True):
    """An operator was asked for a copy of somebody's data, or to erase it. Whose it was isn't said."""

    request: str
    kind: Literal["copy", "erasure"]
    of: Literal["visitor", "subscriber"]


EVENTS = (PersonErased, DataRequested)


class VisitorIsErased(Exception):
    """This visitor was erased and can write nothing any more; a new visitor can."""


def person_stream(person: str) -> UUID:
    """Return the stream of a visitor's erasures."""
    return ids.stream_named("person", person)


def must_not_be_erased(last: Event | None) -> None:
    """Raise VisitorIsErased, given the last event of the stream of a visitor's erasures, if there is one.

    Commands on texts and bookmarks ask in the transaction that would hold them, so that nothing follows an erasure. A vote
    doesn't ask: it holds nothing personal, and stays counted.
    """
    if isinstance(last, PersonErased):
        raise VisitorIsErased(last.person)


def erase_visitor(
    visitor: str,
    reviews: Sequence[Review],
    bookmarked: Sequence[str],
    reports: Sequence[ReviewReported] = (),
    *,
    known: bool,
    erased: bool,
) -> list[Event]:
    """Withdraw a visitor's reviews and reports, remove its bookmarks, and record the erasure.

    No event for a visitor without events, nor for one that wrote nothing since its last erasure.
    """
    withdrawn = [event for review in reviews for event in withdraw_review(review, visitor)]
    removed = [BookmarkRemoved(visitor=visitor, tool=tool) for tool in bookmarked]
    gone = [withdraw_report(report) for report in reports]
    if not known or (erased and not withdrawn and not removed and not gone):
        return []
    return [*withdrawn, *removed, *gone, PersonErased(person=visitor)]
