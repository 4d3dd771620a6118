"""Moderation: the queues of readers' reviews that are new, edited or reported, and decisions on them."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from events.catalog import Verdict
from events.commands.reviews import DecideReview
from events.log.vault import Key
from events.reviews import Ground, Judgement, ReviewEditedSince, Status, Ties
from projections import reviews
from projections.reviews import QueuedReview, Report, Reports
from services.web.http.answers import Answer
from services.web.http.bodies import Id, Input, Reason, Slug, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import ListQuery, listed, page_of
from services.web.operators import show_ops
from services.web.reviews import open_text
from services.web.site import Call
from services.web.tools import tool_names

_MODERATOR: Final = operator("moderate")
_FLASHES: Final[dict[str | None, str]] = {
    "approved": "Approved.",
    "rejected": "Rejected.",
    "removed": "Taken down.",
    "kept": "Kept. The reports that you read are answered.",
    "edited-since": "The author has edited this review: read it again.",
}


_SAID: Final[dict[Judgement, str]] = {"approve": "approved", "reject": "rejected", "remove": "removed", "keep": "kept"}
_LATEST: Final = 20


class QueueQuery(ListQuery, frozen=True, kw_only=True):
    """The status of the reviews to list; `reported` are public ones with reports that nobody has decided on."""

    status: Literal["pending", "approved", "rejected", "reported"] = "pending"


class QueuePageQuery(QueueQuery, frozen=True, kw_only=True):
    """The query of the queue's page; `said` names the message to show."""

    said: Literal["approved", "rejected", "removed", "kept", "edited-since"] | None = None


class ReportToRead(msgspec.Struct, frozen=True):
    """A report; its words are null if it has none, or they can't be opened any more."""

    ground: Ground
    words: str | None
    reported_at: datetime


class ReportsToRead(msgspec.Struct, frozen=True):
    """The reports of a review that wait: how many, by ground, and the latest. To keep it, send `through` with the decision."""

    count: int
    grounds: dict[Ground, int]
    through: int
    latest: list[ReportToRead]


class ReviewToModerate(msgspec.Struct, frozen=True):
    """A review's current revision, or its public one where it was reported.

    Its body is null once its text can't be opened any more.
    """

    id: Id
    tool: Slug
    verdict: Verdict
    score: int | None
    body: str | None
    display_name: str | None
    revision: int
    status: Status
    submitted_at: datetime
    ties: Ties | None
    reports: ReportsToRead | None


class QueuePage(msgspec.Struct, frozen=True):
    """A page of reviews of one status."""

    items: list[ReviewToModerate]
    next: str | None


class ReviewDecision(Input, frozen=True, kw_only=True):
    """A decision on a revision: to approve or reject the current one, or to remove or keep the public one.

    A ground is counted in public, `other` without one. Keeping answers the reports up to the position `through`.
    """

    decision: Judgement
    revision: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    reason: Reason | None = None
    ground: Ground | None = None
    through: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class DecisionAnswer(msgspec.Struct, frozen=True):
    """A review's state after a decision; `position` is that of its last event."""

    id: Id
    status: Status
    revision: int
    position: int | None


async def read_queue(call: Call, query: QueueQuery) -> QueuePage:
    """Return a page of the reviews of a status, oldest first, opened."""
    site = call.site
    if query.status == "reported":
        read = partial(reviews.reported, site.database)
    else:
        read = partial(reviews.queue, site.database, query.status)
    rows, more = await page_of(call, f"queue {query.status}", query, int, read)
    found = await reviews.reports(site.database, [row.review for row in rows], _LATEST)
    owners = [row.review for row in rows] + [one.report for these in found.values() for one in these.latest]
    keys = await site.vault.keys_of(site.database, owners)
    return QueuePage([_opened(row, found.get(row.review), keys) for row in rows], more)


def _opened(row: QueuedReview, reports: Reports | None, keys: Mapping[str, Key]) -> ReviewToModerate:
    key = keys.get(row.review)
    body, name = (None, None) if key is None else open_text(key, row.sealed_text, row.sealed_name)
    return ReviewToModerate(
        row.review,
        row.tool,
        row.verdict,
        row.score,
        body,
        name,
        row.revision,
        row.status,
        row.submitted_at,
        row.ties,
        None if reports is None else _read_reports(reports, keys),
    )


def _read_reports(reports: Reports, keys: Mapping[str, Key]) -> ReportsToRead:
    latest = [ReportToRead(one.ground, _words(one, keys.get(one.report)), one.reported_at) for one in reports.latest]
    return ReportsToRead(reports.count, reports.grounds, reports.through, latest)


def _words(report: Report, key: Key | None) -> str | None:
    return None if key is None or report.sealed_words is None else key.open("words", report.sealed_words)


@endpoint("GET", "/v1/ops/reviews", by=_MODERATOR, takes=QueueQuery, gives=QueuePage, statuses=(200, 304))
async def get_queue(call: Call, query: QueueQuery) -> Answer:
    """List the reviews of a status, oldest first."""
    found = await read_queue(call, query)
    return listed(call, found, found.next, cache=())


async def post_decision(call: Call, decision: ReviewDecision) -> DecisionAnswer:
    """Approve, reject, remove or keep a review; 409 when its author edited it since the revision named."""
    check_line("/reason", decision.reason)
    if decision.decision == "keep" and decision.through is None:
        raise BadInput.at("/through", "must be the position of the last report that was read")
    command = DecideReview(
        call.path["id"],
        decision.decision,
        call.operator,
        decision.revision,
        decision.reason,
        decision.ground,
        decision.through or 0,
        key=call.key,
    )
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
    """Approve, reject, remove or keep a review; what was reported leads back to what else was."""
    here = "/ops/reviews" if form.through is None else "/ops/reviews?status=reported"
    try:
        answer = await post_decision(call, form)
    except ReviewEditedSince:
        return back(here, None, "edited-since")
    return back(here, answer.position, _SAID[form.decision])
