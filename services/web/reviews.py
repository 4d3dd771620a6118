"""Readers' reviews: the public ones of a tool, and each author's own.

Texts and names are sealed before a command is queued and opened when served. Authors read from the log, so nothing is late.
"""

from datetime import datetime
from functools import partial
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events import reviews
from events.catalog import ToolAdded, ToolRenamed, Verdict
from events.catalog_file import Score
from events.commands.reviews import EditReview, SubmitReview, WithdrawReview
from events.log import ids
from events.log.event import fold
from events.log.vault import Key
from events.reviews import Changes, Ground, Review, ReviewExists, ReviewNotFound, Revision, Status, Ties
from projections import reviews as views
from services.clock import fresh_id
from services.web.http.answers import Answer
from services.web.http.bodies import NAME_MOST, Id, Input, Name, Prose, Slug, check_line, check_prose
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back
from services.web.http.queries import ListQuery, listed, page_of
from services.web.site import Call, Site


class NewReview(Input, frozen=True, kw_only=True):
    """A review. The text is kept as written.

    `ties` says whether its author was given something for it, works there, or is related to the tool in another way.
    """

    verdict: Verdict
    body: Prose
    score: Score | None = None
    display_name: Name | None = None
    ties: Ties | None = None


class EditedReview(Input, frozen=True, kw_only=True):
    """Changes to a review. Omitted fields keep their value; null clears score, name or ties."""

    verdict: Verdict | UnsetType = UNSET
    body: Prose | UnsetType = UNSET
    score: Score | UnsetType | None = UNSET
    display_name: Name | UnsetType | None = UNSET
    ties: Ties | UnsetType | None = UNSET


class ReviewForm(msgspec.Struct, frozen=True, kw_only=True):
    """A review as its form sends it."""

    verdict: Verdict
    body: str
    score: Score | None = None
    display_name: Annotated[str, Meta(max_length=NAME_MOST)] | None = None
    ties: Ties | None = None


class ReviewedToolForm(msgspec.Struct, frozen=True, kw_only=True):
    """The slug of the review's tool, to return to its page."""

    tool: Annotated[str, Meta(max_length=120)]


class ReviewAnswer(msgspec.Struct, frozen=True):
    """A review's state after a write; `position` is that of its last event."""

    id: Id
    status: Status
    position: int | None


class PublicReview(msgspec.Struct, frozen=True):
    """A review as the tool's page shows it; `ties` is null if its author didn't tell."""

    id: Id
    verdict: Verdict
    score: int | None
    body: str
    display_name: str | None
    published_at: datetime
    ties: Ties | None


class PublicReviews(msgspec.Struct, frozen=True):
    """A page of a tool's reviews."""

    items: list[PublicReview]
    next: str | None


class RevisionContent(msgspec.Struct, frozen=True):
    """What a revision says."""

    revision: int
    verdict: Verdict
    score: int | None
    body: str
    display_name: str | None
    ties: Ties | None


class OwnReview(RevisionContent, frozen=True):
    """A review as its author sees it: the current revision, and the one that is public, if any.

    `reason` and `ground` are why the current revision was rejected; `position` is that of the review's last event.
    """

    id: Id
    tool: Slug
    status: Status
    reason: str | None
    ground: Ground | None
    published: RevisionContent | None
    position: int | None


class OpenedText(NamedTuple):
    """A review's text and its author's display name, opened."""

    body: str
    display_name: str | None


def open_text(key: Key, text: str, name: str | None) -> OpenedText:
    """Open a review's sealed text and name. Raises SealBroken."""
    return OpenedText(key.open("text", text), None if name is None else key.open("name", name))


def _seal_text(key: Key, body: str) -> str:
    return key.seal("text", body)


def _seal_name(key: Key, display_name: str | None) -> str | None:
    return None if display_name is None else key.seal("name", display_name)


async def read_reviews(call: Call, query: ListQuery) -> PublicReviews:
    """Return a page of the approved reviews of the tool in the path, newest first. Raises ToolNotListed."""
    site = call.site
    tool = (await site.cards.listed(call.path["tool"])).tool
    rows, more = await page_of(call, f"reviews {tool}", query, int, partial(views.public, site.reading, tool))
    keys = await site.vault.keys_of(site.reading, [row.review for row in rows])
    return PublicReviews([_public(row, keys[row.review]) for row in rows if row.review in keys], more)


async def read_public_review(call: Call, tool: str, id_: str) -> PublicReview:
    """Return a public review of a tool, by the tool's id. Raises ReviewNotFound, Erased."""
    row = await views.read_public(call.site.reading, id_)
    if row is None or row.tool != tool:
        raise ReviewNotFound
    return _public(row, await call.site.vault.key_of(call.site.reading, id_))


async def read_own_review(site: Site, visitor: str, id_: str) -> OwnReview:
    """Return a visitor's own review, from the log. Raises ReviewNotFound, Erased."""
    review, position = await _read(site, visitor, id_)
    return await _own(site, review, await _key(site, id_), position)


@endpoint("GET", "/v1/tools/{tool}/reviews", takes=ListQuery, gives=PublicReviews, statuses=(200, 301, 304))
async def get_reviews(call: Call, query: ListQuery) -> Answer:
    """List a tool's approved reviews, newest first."""
    reviews = await read_reviews(call, query)
    return listed(call, reviews, reviews.next)


@endpoint("GET", "/v1/reviews/{id}", by=AUTHOR, gives=OwnReview)
async def get_review(call: Call) -> OwnReview:
    """Show a review to its author, from the log."""
    return await read_own_review(call.site, call.visitor, call.path["id"])


async def post_review(call: Call, new: NewReview) -> ReviewAnswer:
    """Review a tool; a moderator decides whether it is shown. One review per visitor and tool."""
    check_prose("/body", new.body)
    check_line("/display_name", new.display_name)
    call.add_limits(await call.site.limit_review(call.network))
    id_ = fresh_id()
    key, keep = call.site.vault.new_key(id_)
    command = SubmitReview(
        visitor=call.visitor,
        slug=call.path["tool"],
        review=id_,
        verdict=new.verdict,
        score=new.score,
        text=_seal_text(key, new.body),
        name=_seal_name(key, new.display_name),
        ties=new.ties,
        keep=keep,
        key=call.key,
    )
    receipt = await call.site.committer.submit(command)
    return ReviewAnswer(receipt.value.review, receipt.value.status, receipt.position)


async def patch_review(call: Call, edited: EditedReview) -> OwnReview:
    """Edit one's own review; the new revision waits for a moderator while the approved one stays up."""
    if edited.body is not UNSET:
        check_prose("/body", edited.body)
    if edited.display_name is not UNSET:
        check_line("/display_name", edited.display_name)
    site, id_ = call.site, call.path["id"]
    review, _ = await _read(site, call.visitor, id_)
    call.add_limits(await site.limit_review(call.network))
    key = await _key(site, id_)
    changes = _changes(edited, review.current, key)
    receipt = await site.committer.submit(EditReview(call.visitor, review.review, changes, key=call.key))
    return await _own(site, receipt.value, key, receipt.position)


async def delete_review(call: Call) -> ReviewAnswer:
    """Withdraw one's own review: its text is destroyed, and the tool may be reviewed anew. Twice is 200 as well."""
    id_ = call.path["id"]
    receipt = await call.site.committer.submit(WithdrawReview(call.visitor, id_, key=call.key))
    return ReviewAnswer(id_, "withdrawn", receipt.position)


# Not decorated: the forms below call the same functions.
_post = endpoint(
    "POST", "/v1/tools/{tool}/reviews", by=AUTHOR, takes=NewReview, gives=ReviewAnswer, statuses=(202,), problems=(409,)
)(post_review)
_patch = endpoint("PATCH", "/v1/reviews/{id}", by=AUTHOR, takes=EditedReview, gives=OwnReview)(patch_review)
_delete = endpoint("DELETE", "/v1/reviews/{id}", by=AUTHOR, gives=ReviewAnswer)(delete_review)


@action("/tools/{tool}/reviews", ReviewForm)
async def review_form(call: Call, form: ReviewForm) -> Answer:
    """Review a tool; a visitor who has reviewed it already is led to that review."""
    page = _own_page(call.path["tool"])
    try:
        answer = await post_review(call, NewReview(**msgspec.structs.asdict(form)))
    except ReviewExists:
        return back(page, None, "reviewed-before", "own-review")
    return back(page, answer.position, "reviewed", "own-review")


@action("/reviews/{id}", ReviewForm)
async def edit_form(call: Call, form: ReviewForm) -> Answer:
    """Edit one's own review; an empty score or name is cleared."""
    answer = await patch_review(call, EditedReview(**msgspec.structs.asdict(form)))
    return back(_own_page(answer.tool), answer.position, "edited" if answer.status == "pending" else "unchanged", "own-review")


@action("/reviews/{id}/withdraw", ReviewedToolForm)
async def withdraw_form(call: Call, form: ReviewedToolForm) -> Answer:
    """Withdraw one's own review."""
    answer = await delete_review(call)
    return back(_own_page(form.tool), answer.position, "withdrawn", "own-review")


def _own_page(tool: str) -> str:
    """Return the path of the page where a visitor's own review of a tool stands."""
    return f"/tools/{tool}/mine"


async def _read(site: Site, visitor: str, id_: str) -> tuple[Review, int]:
    """Return a visitor's review and its last event's position. Raises ReviewNotFound for withdrawn ones and other authors'."""
    whole = await site.log.whole(reviews.stream(id_))
    review = fold(reviews.evolve, whole)
    if review is None or review.visitor != visitor or review.status == "withdrawn":
        raise ReviewNotFound
    return review, whole[-1].position


async def _key(site: Site, id_: str) -> Key:
    """Return the key of a review. Raises Erased."""
    return await site.vault.key_of(site.database, id_)


def _changes(edited: EditedReview, current: Revision, key: Key) -> Changes:
    """Seal what differs. The same text sealed again would look different and make a new revision to moderate."""
    now = open_text(key, current.text, current.name)
    body, name = edited.body, edited.display_name
    return Changes(
        verdict=edited.verdict,
        score=edited.score,
        text=UNSET if body is UNSET or body == now.body else _seal_text(key, body),
        name=UNSET if name is UNSET or name == now.display_name else _seal_name(key, name),
        ties=edited.ties,
    )


async def _own(site: Site, review: Review, key: Key, position: int | None) -> OwnReview:
    return OwnReview(
        **msgspec.structs.asdict(_content(review.current, key)),
        id=review.review,
        tool=await _slug_of(site, review.tool),
        status=review.status,
        reason=review.reason,
        ground=review.ground,
        published=None if review.published is None else _content(review.published, key),
        position=position,
    )


def _content(revision: Revision, key: Key) -> RevisionContent:
    opened = open_text(key, revision.text, revision.name)
    return RevisionContent(revision.number, revision.verdict, revision.score, opened.body, opened.display_name, revision.ties)


def _public(row: views.PublicReview, key: Key) -> PublicReview:
    opened = open_text(key, row.sealed_text, row.sealed_name)
    return PublicReview(row.review, row.verdict, row.score, opened.body, opened.display_name, row.published_at, row.ties)


async def _slug_of(site: Site, tool: str) -> str:
    """Return a tool's slug from its own events: a review may be read before any view has it."""
    events = (recorded.event for recorded in await site.log.whole(ids.stream_of(tool)))
    return [event.slug for event in events if isinstance(event, ToolAdded | ToolRenamed)][-1]
