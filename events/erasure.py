"""Erasure of a person: its texts go, its votes and scores stay.

A visitor's reviews are withdrawn and its bookmarks removed. A ballot holds a choice under an id that names nobody, so ballots
stay and no tally changes.
"""

from collections.abc import Sequence
from uuid import UUID

from events.bookmarks import BookmarkRemoved
from events.log import ids
from events.log.event import Event
from events.reviews import Review, withdraw_review


class PersonErased(Event, frozen=True, kw_only=True):
    """A person's texts were destroyed; votes and scores still count. `person` is a visitor's or a subscriber's id."""

    person: str


EVENTS = (PersonErased,)


def person_stream(person: str) -> UUID:
    """Return the stream of a visitor's erasures."""
    return ids.stream_named("person", person)


def erase_visitor(
    visitor: str, reviews: Sequence[Review], bookmarked: Sequence[str], *, known: bool, erased: bool
) -> list[Event]:
    """Withdraw a visitor's reviews, remove its bookmarks, and record the erasure.

    No event for a visitor without events, nor for one that wrote nothing since its last erasure.
    """
    withdrawn = [event for review in reviews for event in withdraw_review(review, visitor)]
    removed = [BookmarkRemoved(visitor=visitor, tool=tool) for tool in bookmarked]
    if not known or (erased and not withdrawn and not removed):
        return []
    return [*withdrawn, *removed, PersonErased(person=visitor)]
