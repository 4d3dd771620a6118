"""Readers' reviews: one per visitor and tool, moderated by revision.

No event holds a reader's words: `text` and `name` are sealed under the review's key in the vault, and withdrawing destroys that
key. A decision is about one revision: while an edit is pending or rejected, the revision approved before it stays public.
Anybody may report what is public; those reports are `events.reports`.
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
Judgement = Literal["approve", "reject", "remove", "keep"]
Ties = Literal["none", "given", "works_there", "related"]
"""What ties an author has to the tool: was given something for the review, works there, or is related in another way."""
Ground = Literal["fake", "ties", "off_topic", "advertising", "offensive", "private", "other"]
"""Why a review is reported, refused or taken down; `ties` were not told."""


class ReviewSubmitted(Event, frozen=True, kw_only=True):
    """A visitor reviewed a tool: revision 1, pending. `text` and `name` are sealed."""

    review: str
    visitor: str
    tool: str
    verdict: Verdict
    score: int | None = None
    text: str
    name: str | None = None
    ties: Ties | None = None


class ReviewEdited(Event, frozen=True, kw_only=True):
    """The author wrote a new revision, pending; every field holds its new value."""

    review: str
    revision: int
    verdict: Verdict
    score: int | None = None
    text: str
    name: str | None = None
    ties: Ties | None = None


class ReviewApproved(Event, frozen=True, kw_only=True):
    """A revision became the public one and replaced any earlier one."""

    review: str
    revision: int


class ReviewRejected(Event, frozen=True, kw_only=True):
    """A revision was rejected and is not public any more; `shown` if it was. Another public revision stays.

    The author reads the reason. A ground is counted in public; an older event has none.
    """

    review: str
    revision: int
    reason: str | None = None
    ground: Ground | None = None
    shown: bool | None = None


class ReviewKept(Event, frozen=True, kw_only=True):
    """A moderator read the reports up to the position `through`, and the public revision stays."""

    review: str
    revision: int
    through: int


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


EVENTS = (
    ReviewSubmitted, ReviewEdited, ReviewApproved, ReviewRejected, ReviewKept, ReviewWithdrawn, ReviewPlaced, ReviewCleared
)  # fmt: skip


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
    ties: Ties | None = None


class Review(msgspec.Struct, frozen=True):
    """A review's state: `status` is the current revision's, `published` the public revision, if any.

    Reports up to the position `kept` were read and answered by keeping the review.
    """

    review: str
    visitor: str
    tool: str
    status: Status
    current: Revision
    published: Revision | None = None
    reason: str | None = None
    ground: Ground | None = None
    kept: int = 0


class Changes(msgspec.Struct, frozen=True):
    """An author's changes; fields that are UNSET stay. `text` and `name` are sealed."""

    verdict: Verdict | UnsetType = UNSET
    score: int | UnsetType | None = UNSET
    text: str | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    ties: Ties | UnsetType | None = UNSET


def begin(event: ReviewSubmitted) -> Review:
    """Return a review's state after its submission."""
    first = Revision(1, event.verdict, event.score, event.text, event.name, event.ties)
    return Review(event.review, event.visitor, event.tool, "pending", first)


def evolve(state: Review | None, event: Event) -> Review | None:
    """Return the review after an event of its stream."""
    if isinstance(event, ReviewSubmitted):
        return begin(event)
    if state is None:
        return None
    match event:
        case ReviewEdited():
            edited = Revision(event.revision, event.verdict, event.score, event.text, event.name, event.ties)
            return replace(state, status="pending", current=edited, reason=None, ground=None)
        case ReviewApproved():
            # An approval names an older revision only where the newer one was passed over: that makes nothing public.
            public = state.current if event.revision == state.current.number else state.published
            return replace(state, status="approved", published=public, reason=None, ground=None)
        case ReviewRejected():
            up = state.published
            still_up = None if up is not None and up.number == event.revision else up
            if event.shown and event.revision != state.current.number:  # the current one waits, or was decided on already
                return replace(state, published=still_up)
            return replace(state, status="rejected", published=still_up, reason=event.reason, ground=event.ground)
        case ReviewKept():
            return replace(state, kept=event.through)
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
            ties=edited.ties,
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
    state: Review | None,
    judgement: Judgement,
    revision: int | None = None,
    reason: str | None = None,
    *,
    ground: Ground | None = None,
    through: int = 0,
) -> list[Event]:
    """Approve or reject a revision, the current one if none is given; or remove or keep the public one.

    To keep is to have read the reports up to the position `through`. No event if it is so already. Once an edit is rejected,
    the revision that is still public may be rejected too, by its number. Raises ReviewEditedSince for any other revision than
    the one that the decision can be about, and ReviewNotFound once withdrawn.
    """
    if state is None or state.status == "withdrawn":
        raise ReviewNotFound
    public = _public_meant(state, judgement, revision)
    if public is None and judgement in ("remove", "keep"):
        return []
    about = (public or state.current).number
    if revision not in (None, about):
        raise ReviewEditedSince(about)
    if judgement in ("reject", "remove"):
        return [] if public is None and state.status == "rejected" else [_rejected(state, about, reason, ground)]
    if judgement == "keep":
        return [] if through == state.kept else [ReviewKept(review=state.review, revision=about, through=through)]
    return [] if public or state.status == "approved" else [ReviewApproved(review=state.review, revision=about)]


def _rejected(state: Review, revision: int, reason: str | None, ground: Ground | None) -> ReviewRejected:
    shown = True if state.published is not None and state.published.number == revision else None
    return ReviewRejected(review=state.review, revision=revision, reason=reason, ground=ground, shown=shown)


def _public_meant(state: Review, judgement: Judgement, revision: int | None) -> Revision | None:
    """Return the public revision, if there is one and the decision is about it and not about the current one."""
    up = state.published
    named = up is not None and state.status == "rejected" and revision == up.number
    return up if named or judgement in ("remove", "keep") else None
