"""Moderation: the queue of readers' reviews, and decisions on them."""

from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from events.catalog import Verdict
from events.commands.reviews import DecideReview
from events.log.vault import Key
from events.reviews import ReviewEditedSince, Status
from projections import reviews
from projections.reviews import QueuedReview
from services.web.http.answers import Answer
from services.web.http.bodies import Id, Input, Reason, Slug, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.queries import ListQuery, listed, page_of
from services.web.operators import show_ops
from services.web.reviews import open_text
from services.web.site import Call
from services.web.tools import tool_names

_MODERATOR: Final = operator("moderate")
_FLASHES: Final[dict[str | None, str]] = {
    "approved": "Approved.",
    "rejected": "Rejected.",
    "edited-since": "The author has edited this review: read it again.",
}


class QueueQuery(ListQuery, frozen=True, kw_only=True):
    """The status of the reviews to list."""

    status: Literal["pending", "approved", "rejected"] = "pending"


class QueuePageQuery(QueueQuery, frozen=True, kw_only=True):
    """The query of the queue's page; `said` names the message to show."""

    said: Literal["approved", "rejected", "edited-since"] | None = None


class ReviewToModerate(msgspec.Struct, frozen=True):
    """A review's current revision; its body is null once its text can't be opened any more."""

    id: Id
    tool: Slug
    verdict: Verdict
    score: int | None
    body: str | None
    display_name: str | None
    revision: int
    status: Status
    submitted_at: datetime


class QueuePage(msgspec.Struct, frozen=True):
    """A page of reviews of one status."""

    items: list[ReviewToModerate]
    next: str | None


class ReviewDecision(Input, frozen=True, kw_only=True):
    """A decision on a revision (default: the current one)."""

    decision: Literal["approve", "reject"]
    revision: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    reason: Reason | None = None


class DecisionAnswer(msgspec.Struct, frozen=True):
    """A review's state after a decision; `position` is that of its last event."""

    id: Id
    status: Status
    revision: int
    position: int | None


async def read_queue(call: Call, query: QueueQuery) -> QueuePage:
    """Return a page of the reviews of a status, oldest first, opened."""
    site = call.site
    read = partial(reviews.queue, site.database, query.status)
    rows, more = await page_of(call, f"queue {query.status}", query, int, read)
    keys = await site.vault.keys_of(site.database, [row.review for row in rows])
    return QueuePage([_opened(row, keys.get(row.review)) for row in rows], more)


def _opened(row: QueuedReview, key: Key | None) -> ReviewToModerate:
    body, name = (None, None) if key is None else open_text(key, row.sealed_text, row.sealed_name)
    return ReviewToModerate(
        row.review, row.tool, row.verdict, row.score, body, name, row.revision, row.status, row.submitted_at
    )


@endpoint("GET", "/v1/ops/reviews", by=_MODERATOR, takes=QueueQuery, gives=QueuePage, statuses=(200, 304))
async def get_queue(call: Call, query: QueueQuery) -> Answer:
    """List the reviews of a status, oldest first."""
    found = await read_queue(call, query)
    return listed(call, found, found.next, cache=())


async def post_decision(call: Call, decision: ReviewDecision) -> DecisionAnswer:
    """Approve or reject a review; 409 when its author edited it since the revision named."""
    check_line("/reason", decision.reason)
    command = DecideReview(call.path["id"], decision.decision, call.operator, decision.revision, decision.reason, key=call.key)
    receipt = await call.site.committer.submit(command)
    review = receipt.value
    return DecisionAnswer(review.review, review.status, review.current.number, receipt.position)


# Not decorated: the form below calls the same function.
_post = endpoint(
    "POST",
    "/v1/ops/reviews/{id}/decision",
    by=_MODERATOR,
    takes=ReviewDecision,
    gives=DecisionAnswer,
    problems=(409,),
)(post_decision)


@page("/ops/reviews", QueuePageQuery, _MODERATOR)
async def queue_page(call: Call, query: QueuePageQuery) -> Answer:
    """Show the moderation queue."""
    found = await read_queue(call, query)
    return await show_ops(
        call,
        "ops_reviews.html",
        "/ops/reviews",
        items=found.items,
        names=await tool_names(call, [one.tool for one in found.items]),
        next=found.next,
        queue_status=query.status,
        word=_FLASHES.get(query.said),
    )


@action("/ops/reviews/{id}/decision", ReviewDecision, _MODERATOR)
async def decision_form(call: Call, form: ReviewDecision) -> Answer:
    """Approve or reject a review."""
    try:
        answer = await post_decision(call, form)
    except ReviewEditedSince:
        return back("/ops/reviews", None, "edited-since")
    return back("/ops/reviews", answer.position, "approved" if form.decision == "approve" else "rejected")
