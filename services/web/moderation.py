"""Moderation: the queue of readers' reviews, and decisions on them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from events.catalog import Verdict
from events.commands.reviews import DecideReview
from events.log.vault import Key
from events.reviews import Status
from projections import reviews
from projections.reviews import QueuedReview
from services.web.http.answers import Answer
from services.web.http.bodies import Id, Input, Reason, Slug, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.queries import ListQuery, listed
from services.web.reviews import open_text
from services.web.site import Call, Site


class QueueQuery(ListQuery, frozen=True, kw_only=True):
    """Which reviews."""

    status: Literal["pending", "approved", "rejected"] = "pending"


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


class Judgement(Input, frozen=True, kw_only=True):
    """A decision on a revision: the current one, if none is named."""

    decision: Literal["approve", "reject"]
    revision: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    reason: Reason | None = None


class JudgementAnswer(msgspec.Struct, frozen=True):
    """How the review stands now; `position` is that of its last event."""

    id: Id
    status: Status
    revision: int
    position: int | None


@endpoint("GET", "/v1/ops/reviews", by=operator("moderate"), takes=QueueQuery, gives=QueuePage, statuses=(200, 304))
async def queue(call: Call, query: QueueQuery) -> Answer:
    """List the reviews of a status, oldest first."""
    await call.site.reach(query.after)
    found = await read_queue(call.site, query)
    return listed(call, found, found.next, cache=())


async def read_queue(site: Site, query: QueueQuery) -> QueuePage:
    """Read a page of the queue and open what readers wrote."""
    name = f"queue {query.status}"
    after = site.cursors.open(name, query.cursor, int) if query.cursor else None
    rows = await reviews.queue(site.database, query.status, after, query.limit + 1)
    shown = rows[: query.limit]
    keys = await site.vault.keys_of(site.database, [row.review for row in shown])
    more = site.cursors.seal(name, shown[-1].position) if len(rows) > query.limit else None
    return QueuePage([_queued(row, keys.get(row.review)) for row in shown], more)


@endpoint(
    "POST",
    "/v1/ops/reviews/{id}/decision",
    by=operator("moderate"),
    takes=Judgement,
    gives=JudgementAnswer,
    problems=(409,),
)
async def decide(call: Call, judgement: Judgement) -> JudgementAnswer:
    """Approve or reject a review; 409 when its author edited it since the revision named."""
    return await judge(call, judgement)


async def judge(call: Call, judgement: Judgement) -> JudgementAnswer:
    """Decide, as the call's operator, on the review in the path; BadInput and the refusals of DecideReview."""
    check_line("/reason", judgement.reason)
    command = DecideReview(
        call.path["id"],
        judgement.decision,
        operator=call.operator,
        revision=judgement.revision,
        reason=judgement.reason,
        key=call.key,
    )
    receipt = await call.site.committer.submit(command)
    review = receipt.value
    return JudgementAnswer(review.review, review.status, review.current.number, receipt.position)


def _queued(row: QueuedReview, key: Key | None) -> ReviewToModerate:
    body, name = (None, None) if key is None else open_text(key, row.sealed_text, row.sealed_name)
    return ReviewToModerate(
        row.review, row.tool, row.verdict, row.score, body, name, row.revision, row.status, row.submitted_at
    )
