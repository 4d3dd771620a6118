"""Readers' reviews: one per visitor and tool, moderated by revision.

No event holds a reader's words: `text` and `name` are sealed under the review's key in the vault, and withdrawing destroys that
key. A decision is about one revision: while an edit is pending or rejected, the revision approved before it stays public.
"""

from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from events.catalog import Verdict
from events.log import ids
from events.log.event import Event

Status = Literal["pending", "approved", "rejected", "withdrawn"]
Judgement = Literal["approve", "reject"]


class ReviewSubmitted(Event, frozen=True, kw_only=True):
    """A visitor reviewed a tool: revision 1, pending. `text` and `name` are sealed."""

    review: str
    visitor: str
    tool: str
    verdict: Verdict
    score: int | None = None
    text: str
    name: str | None = None


class ReviewEdited(Event, frozen=True, kw_only=True):
    """The author wrote a new revision, pending; every field holds its new value."""

    review: str
    revision: int
    verdict: Verdict
    score: int | None = None
    text: str
    name: str | None = None


class ReviewApproved(Event, frozen=True, kw_only=True):
    """A revision became the public one and replaced any earlier one."""

    review: str
    revision: int


class ReviewRejected(Event, frozen=True, kw_only=True):
    """A revision was rejected and is not public any more. Another public revision stays."""

    review: str
    revision: int
    reason: str | None = None


class ReviewWithdrawn(Event, frozen=True, kw_only=True):
    """The author withdrew the review and its texts were destroyed."""

    review: str


class ReviewPlaced(Event, frozen=True, kw_only=True):
    """A visitor's one place for a review of this tool was taken."""

    visitor: str
    tool: str
    review: str


class ReviewCleared(Event, frozen=True, kw_only=True):
    """A visitor's place for a review of this tool is free again."""

    visitor: str
    tool: str
    review: str


EVENTS = (ReviewSubmitted, ReviewEdited, ReviewApproved, ReviewRejected, ReviewWithdrawn, ReviewPlaced, ReviewCleared)


class ReviewExists(Exception):
    """This visitor already has a review of this tool, `id`."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class ReviewNotFound(Exception):
    """There is no such review, or this visitor may not see it."""


class ReviewEditedSince(Exception):
    """The decision names another revision than the current one, `revision`."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class Revision(msgspec.Struct, frozen=True):
    """The author's nth text (from 1); `text` and `name` are sealed."""

    number: int
    verdict: Verdict
    score: int | None
    text: str
    name: str | None


class Review(msgspec.Struct, frozen=True):
    """A review's state: `status` is the current revision's, `published` the public revision, if any."""

    review: str
    visitor: str
    tool: str
    status: Status
    current: Revision
    published: Revision | None = None
    reason: str | None = None


class Changes(msgspec.Struct, frozen=True):
    """An author's changes; fields that are UNSET stay. `text` and `name` are sealed."""

    verdict: Verdict | UnsetType = UNSET
    score: int | UnsetType | None = UNSET
    text: str | UnsetType = UNSET
    name: str | UnsetType | None = UNSET


def begin(event: ReviewSubmitted) -> Review:
    """Return a review's state after its submission."""
    first = Revision(1, event.verdict, event.score, event.text, event.name)
    return Review(event.review, event.visitor, event.tool, "pending", first)


def evolve(state: Review | None, event: Event) -> Review | None:
    """Return the review after an event of its stream."""
    if isinstance(event, ReviewSubmitted):
        return begin(event)
    if state is None:
        return None
    match event:
        case ReviewEdited():
            edited = Revision(event.revision, event.verdict, event.score, event.text, event.name)
            return replace(state, status="pending", current=edited, reason=None)
        case ReviewApproved():
            # An approval names an older revision only where the newer one was passed over: that makes nothing public.
            public = state.current if event.revision == state.current.number else state.published
            return replace(state, status="approved", published=public, reason=None)
        case ReviewRejected():
            up = state.published
            still_up = None if up is not None and up.number == event.revision else up
            return replace(state, status="rejected", published=still_up, reason=event.reason)
        case ReviewWithdrawn():
            return replace(state, status="withdrawn", published=None)
    return state


def stream(review: str) -> UUID:
    """Return a review's stream. Raises ReviewNotFound if `review` is no id."""
    if not ids.is_id(review):
        raise ReviewNotFound
    return ids.stream_of(review)


def place_stream(visitor: str, tool: str) -> UUID:
    """Return the stream of a visitor's one place for a review of a tool."""
    return ids.stream_beside(visitor, "review", tool)


def submit_review(place: Event | None, submitted: ReviewSubmitted) -> list[Event]:
    """Submit a review, given the last event of the visitor's place for it. Raises ReviewExists if the place is taken."""
    if isinstance(place, ReviewPlaced):
        raise ReviewExists(place.review)
    return [submitted, ReviewPlaced(visitor=submitted.visitor, tool=submitted.tool, review=submitted.review)]


def edit_review(state: Review | None, visitor: str, changes: Changes) -> list[Event]:
    """Write a new revision; no event if nothing changes. Raises ReviewNotFound for another visitor, and once withdrawn."""
    if state is None or state.visitor != visitor or state.status == "withdrawn":
        raise ReviewNotFound
    given = {f: value for f in changes.__struct_fields__ if (value := getattr(changes, f)) is not UNSET}
    edited = replace(state.current, **given)
    if edited == state.current:
        return []
    return [
        ReviewEdited(
            review=state.review,
            revision=edited.number + 1,
            verdict=edited.verdict,
            score=edited.score,
            text=edited.text,
            name=edited.name,
        )
    ]


def withdraw_review(state: Review | None, visitor: str) -> list[Event]:
    """Withdraw a review and free its place; a second time is no event. Raises ReviewNotFound for anyone but the author."""
    if state is None or state.visitor != visitor:
        raise ReviewNotFound
    if state.status == "withdrawn":
        return []
    return [ReviewWithdrawn(review=state.review), ReviewCleared(visitor=visitor, tool=state.tool, review=state.review)]


def decide_review(
    state: Review | None, judgement: Judgement, revision: int | None = None, reason: str | None = None
) -> list[Event]:
    """Approve or reject a revision, the current one if none is given; no event if it already is.

    Once an edit is rejected, the revision that is still public may be rejected too, by its number. Raises ReviewEditedSince
    for any other revision that is not current, and ReviewNotFound once withdrawn.
    """
    if state is None or state.status == "withdrawn":
        raise ReviewNotFound
    up, current = state.published, state.current.number
    if state.status == "rejected" and up is not None and revision == up.number:
        return [] if judgement == "approve" else [ReviewRejected(review=state.review, revision=up.number, reason=reason)]
    if revision not in (None, current):
        raise ReviewEditedSince(current)
    if judgement == "approve":
        return [] if state.status == "approved" else [ReviewApproved(review=state.review, revision=current)]
    return [] if state.status == "rejected" else [ReviewRejected(review=state.review, revision=current, reason=reason)]
