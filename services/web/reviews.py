"""Readers' reviews: what is public of a tool's, and each to its author. An author reads from the log, so nothing is late."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events import reviews
from events.catalog import ToolAdded, Verdict
from events.commands.reviews import EditReview, SubmitReview, WithdrawReview
from events.log import ids
from events.log.event import fold
from events.log.vault import Key
from events.reviews import Changes, Review, ReviewNotFound, Revision, Status
from projections import reviews as views
from services.clock import fresh_id
from services.web.http.answers import Answer
from services.web.http.bodies import Id, Input, Name, Prose, Slug, check_line, check_prose
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, listed
from services.web.sealed import open_words, seal_name, seal_text
from services.web.site import Call, Site

Score = Annotated[int, Meta(ge=0, le=100)]
_WRITE_PROBLEMS: Final = (403, 404, 422, 503)


class NewReview(Input, frozen=True, kw_only=True):
    """A review. The text is kept as written."""

    verdict: Verdict
    body: Prose
    score: Score | None = None
    display_name: Name | None = None


class EditedReview(Input, frozen=True, kw_only=True):
    """What of a review is to be another; what is left out stays, and null takes a score or a name away."""

    verdict: Verdict | UnsetType = UNSET
    body: Prose | UnsetType = UNSET
    score: Score | UnsetType | None = UNSET
    display_name: Name | UnsetType | None = UNSET


class ReviewAnswer(msgspec.Struct, frozen=True):
    """A review's state after a write; `position` is that of its last event."""

    id: Id
    status: Status
    position: int | None


class PublicReview(msgspec.Struct, frozen=True):
    """A review as the tool's page shows it."""

    id: Id
    verdict: Verdict
    score: int | None
    body: str
    display_name: str | None
    published_at: datetime


class PublicReviews(msgspec.Struct, frozen=True):
    """A page of a tool's reviews."""

    items: list[PublicReview]
    next: str | None


class Said(msgspec.Struct, frozen=True):
    """What a revision says."""

    revision: int
    verdict: Verdict
    score: int | None
    body: str
    display_name: str | None


class OwnReview(Said, frozen=True):
    """A review as its author sees it: the current revision, and the one that is public, if any.

    `reason` is why the current revision was rejected; `position` is that of the review's last event.
    """

    id: Id
    tool: Slug
    status: Status
    reason: str | None
    published: Said | None
    position: int | None


@endpoint(
    "POST",
    "/v1/tools/{tool}/reviews",
    by=AUTHOR,
    takes=NewReview,
    gives=ReviewAnswer,
    statuses=(202,),
    problems=(409, *_WRITE_PROBLEMS),
)
async def submit(call: Call, new: NewReview) -> ReviewAnswer:
    """Review a tool; a moderator decides whether it is shown. One review per visitor and tool."""
    return await submit_review(call, new)


async def submit_review(call: Call, new: NewReview) -> ReviewAnswer:
    """Submit the visitor's review of the tool in the path; BadInput and the refusals of SubmitReview."""
    check_prose("/body", new.body)
    check_line("/display_name", new.display_name)
    id_ = fresh_id()
    key, keep = call.site.vault.new_key(id_)
    command = SubmitReview(
        visitor=call.visitor,
        slug=call.path["tool"],
        review=id_,
        verdict=new.verdict,
        score=new.score,
        text=seal_text(key, new.body),
        name=seal_name(key, new.display_name),
        keep=keep,
        key=call.key,
    )
    receipt = await call.site.committer.submit(command)
    return ReviewAnswer(receipt.value.review, receipt.value.status, receipt.position)


@endpoint("GET", "/v1/tools/{tool}/reviews", takes=ListQuery, gives=PublicReviews, statuses=(200, 304), problems=(404, 503))
async def public(call: Call, page: ListQuery) -> Answer:
    """List a tool's approved reviews, newest first."""
    await call.site.reach(page.after)
    slug = call.path["tool"]
    kept = await call.site.cards.one(slug)
    if kept is None:
        raise NotFound("No listed tool has this slug.")
    shown = await public_reviews(call.site, kept.tool, page)
    return listed(call, shown, shown.next)


async def public_reviews(site: Site, tool: str, page: ListQuery) -> PublicReviews:
    """Give a page of the approved reviews of a tool, by its id, newest first."""
    name = f"reviews {tool}"
    before = site.cursors.open(name, page.cursor, int) if page.cursor else None
    rows = await views.public(site.database, tool, before, page.limit + 1)
    shown = rows[: page.limit]
    keys = await site.vault.keys_of(site.database, [row.review for row in shown])
    more = site.cursors.seal(name, shown[-1].position) if len(rows) > page.limit else None
    return PublicReviews([_public(row, keys[row.review]) for row in shown if row.review in keys], more)


@endpoint("GET", "/v1/reviews/{id}", by=AUTHOR, gives=OwnReview, problems=(404, 503))
async def own(call: Call) -> OwnReview:
    """Show a review to its author, from the log."""
    return await own_review(call, call.path["id"])


async def own_review(call: Call, id_: str) -> OwnReview:
    """Read the visitor's own review; ReviewNotFound, Erased."""
    review, position = await _read_own(call, id_)
    return await _own(call, review, await _key(call, id_), position)


@endpoint("PATCH", "/v1/reviews/{id}", by=AUTHOR, takes=EditedReview, gives=OwnReview, problems=_WRITE_PROBLEMS)
async def edit(call: Call, edited: EditedReview) -> OwnReview:
    """Edit one's own review; the new revision waits for a moderator while the approved one stays up."""
    return await edit_review(call, edited)


async def edit_review(call: Call, edited: EditedReview) -> OwnReview:
    """Edit the review in the path; BadInput and the refusals of EditReview."""
    if edited.body is not UNSET:
        check_prose("/body", edited.body)
    if edited.display_name is not UNSET:
        check_line("/display_name", edited.display_name)
    review, _ = await _read_own(call, call.path["id"])
    key = await _key(call, call.path["id"])
    changes = _changes(edited, review.current, key)
    receipt = await call.site.committer.submit(EditReview(call.visitor, review.review, changes, call.key))
    return await _own(call, receipt.value, key, receipt.position)


@endpoint("DELETE", "/v1/reviews/{id}", by=AUTHOR, gives=ReviewAnswer, problems=_WRITE_PROBLEMS)
async def withdraw(call: Call) -> ReviewAnswer:
    """Withdraw one's own review: its text is destroyed, and the tool may be reviewed anew. Twice is 200 as well."""
    return await withdraw_review(call)


async def withdraw_review(call: Call) -> ReviewAnswer:
    """Withdraw the review in the path; the refusals of WithdrawReview."""
    id_ = call.path["id"]
    receipt = await call.site.committer.submit(WithdrawReview(call.visitor, id_, call.key))
    return ReviewAnswer(id_, "withdrawn", receipt.position)


async def _read_own(call: Call, id_: str) -> tuple[Review, int]:
    """Read the caller's review and where its last event stands; ReviewNotFound for others' and what was withdrawn."""
    whole = await call.site.log.whole(reviews.stream(id_))
    review = fold(reviews.evolve, whole)
    if review is None or review.visitor != call.visitor or review.status == "withdrawn":
        raise ReviewNotFound
    return review, whole[-1].position


async def _key(call: Call, id_: str) -> Key:
    """Read the key of a review; Erased."""
    return await call.site.vault.key_of(call.site.database, id_)


def _changes(edited: EditedReview, current: Revision, key: Key) -> Changes:
    """Seal what differs. The same words sealed again would look like others, and be a new revision to moderate."""
    words = open_words(key, current.text, current.name)
    return Changes(
        verdict=edited.verdict,
        score=edited.score,
        text=UNSET if edited.body is UNSET or edited.body == words.body else seal_text(key, edited.body),
        name=UNSET
        if edited.display_name is UNSET or edited.display_name == words.display_name
        else seal_name(key, edited.display_name),
    )


async def _own(call: Call, review: Review, key: Key, position: int | None) -> OwnReview:
    current = _said(review.current, key)
    return OwnReview(
        **msgspec.structs.asdict(current),
        id=review.review,
        tool=await _slug_of(call, review.tool),
        status=review.status,
        reason=review.reason,
        published=None if review.published is None else _said(review.published, key),
        position=position,
    )


def _said(revision: Revision, key: Key) -> Said:
    words = open_words(key, revision.text, revision.name)
    return Said(revision.number, revision.verdict, revision.score, words.body, words.display_name)


def _public(row: views.PublicReview, key: Key) -> PublicReview:
    words = open_words(key, row.sealed_text, row.sealed_name)
    return PublicReview(row.review, row.verdict, row.score, words.body, words.display_name, row.published_at)


async def _slug_of(call: Call, tool: str) -> str:
    """Read a tool's slug from its first event: an author's review is there before any view may be."""
    whole = await call.site.log.whole(ids.stream_of(tool))
    added = whole[0].event
    assert isinstance(added, ToolAdded)  # noqa: S101 - every tool's stream begins so
    return added.slug
