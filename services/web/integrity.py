"""Votes that look bought: the queue of cohorts, the evidence about one, and decisions. Never who voted on what."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from events.ballots import Choice
from events.integrity import CohortChanged, CohortHeld, CohortUnknown, Judgement, Ruling, Status
from projections.tally import Community, community
from services.clock import fresh_id
from services.integrity import decisions, evidence, queue
from services.integrity.evidence import Evidence
from services.integrity.queue import FILTERS, Filter, Place, Queued
from services.web import bars
from services.web.http.answers import Answer
from services.web.http.bodies import Id, Input, Reason, Slug, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import ListQuery, Query, listed, page_of
from services.web.operators import show_ops
from services.web.site import Call
from services.web.tools import tool_names

_DECIDER: Final = operator("voters")
_FLASHES: Final[Mapping[Status | Literal["changed"] | None, str]] = {
    "pending": "Proposed. Another operator must confirm before any vote is taken out.",
    "voiding": "Decided. Its votes are being taken out.",
    "voided": "Voided. The correction is public.",
    "dismissed": "Dismissed: its votes count.",
    "watched": "Watched: it comes back if it grows.",
    "undoing": "Undone. Its votes are being given back.",
    "waiting": "Taken back: it waits for a decision.",
    "changed": "The cohort has changed, or somebody has decided meanwhile: look again.",
}


class CohortsQuery(ListQuery, frozen=True, kw_only=True):
    """The status of the cohorts to list. Those that wait for a second operator, and those being given back, wait too."""

    status: Filter = "waiting"


class CohortQuery(Query, frozen=True, kw_only=True):
    """The query of a cohort's page; `said` names the message to show."""

    said: Status | Literal["changed"] | None = None


class TallyChange(msgspec.Struct, frozen=True):
    """The tool's tally with the cohort's votes and without them."""

    before: Community
    after: Community


class CohortItem(msgspec.Struct, frozen=True, kw_only=True):
    """Votes of a tool and a choice that look bought.

    `scores` say in which way, in nats; `p` is the chance of as much among honest votes; `unsettles` says that a void changes a
    settled verdict; `revision` grows with every change and every decision. Of the last decision there are its `reason`, its
    operator `by`, and of a void or an undo its `voters` and how many of them are `corrected`.
    """

    id: Id
    tool: Slug
    choice: Choice
    from_: datetime = msgspec.field(name="from")
    to: datetime
    votes: int
    scores: Mapping[str, float]
    p: float
    effect: TallyChange
    unsettles: bool
    status: Status
    revision: int
    found_at: datetime
    reason: str | None
    by: str | None
    voters: int | None
    corrected: int
    decided_at: datetime | None


class CohortsPage(msgspec.Struct, frozen=True):
    """A page of cohorts, the largest effect first."""

    items: list[CohortItem]
    next: str | None


class CohortAnswer(msgspec.Struct, frozen=True):
    """A cohort, and the evidence about it."""

    cohort: CohortItem
    evidence: Evidence


class CohortDecision(Input, frozen=True, kw_only=True):
    """A decision on a cohort, of a revision (default: the present one). The reason of a void or of its undoing is public."""

    decision: Judgement
    reason: Reason
    revision: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class DecidedCohort(msgspec.Struct, frozen=True):
    """A cohort's status after a decision; `position` is that of its last event."""

    id: Id
    status: Status
    position: int | None


async def read_queue(call: Call, query: CohortsQuery) -> CohortsPage:
    """Return a page of the cohorts of a status, the largest effect first."""
    read = partial(queue.queue, call.site.database, FILTERS[query.status])
    rows, more = await page_of(call, f"cohorts {query.status}", query, Place, read, queue.place_of)
    return CohortsPage([_item(row) for row in rows], more)


async def read_cohort(call: Call) -> Queued:
    """Return the cohort that the path names. Raises CohortUnknown."""
    found = await queue.read(call.site.database, call.path["id"])
    if found is None:
        raise CohortUnknown
    return found


@endpoint("GET", "/v1/ops/integrity", by=_DECIDER, takes=CohortsQuery, gives=CohortsPage, statuses=(200, 304))
async def get_cohorts(call: Call, query: CohortsQuery) -> Answer:
    """List the cohorts of votes that look bought, of a status, the largest effect first."""
    found = await read_queue(call, query)
    return listed(call, found, found.next, cache=())


@endpoint("GET", "/v1/ops/integrity/{id}", by=_DECIDER, takes=Query, gives=CohortAnswer)
async def get_cohort(call: Call, query: Query) -> CohortAnswer:
    """Show a cohort with the evidence: votes over time, ages, spacing, what else was voted on; never who voted on what."""
    found = await read_cohort(call)
    return CohortAnswer(_item(found), await evidence.read(call.site.database, found.cohort))


async def post_decision(call: Call, given: CohortDecision) -> DecidedCohort:
    """Void, dismiss or watch a cohort, or undo that; 409 when it has changed since the revision named.

    A void above the set size is `pending` until another operator decides the same. One that takes longer goes on by itself.
    """
    check_line("/reason", given.reason)
    site, id_ = call.site, call.path["id"]
    alone = site.settings.second_operator_above
    asked = Ruling(given.decision, given.reason, call.operator, fresh_id(), alone)
    receipt = await decisions.decide(site.database, site.committer, id_, asked, revision=given.revision, key=call.key)
    status, position = receipt.value.status, receipt.position
    if status in ("voiding", "undoing"):
        await site.carry_out(id_)
        status, position = await decisions.status_of(site.database, id_)
    return DecidedCohort(id_, status, position)


# Not decorated: the form below calls the same function.
_post = endpoint(
    "POST",
    "/v1/ops/integrity/{id}/decision",
    by=_DECIDER,
    takes=CohortDecision,
    gives=DecidedCohort,
    problems=(409,),
)(post_decision)


@page("/ops/integrity", CohortsQuery, _DECIDER)
async def cohorts_page(call: Call, query: CohortsQuery) -> Answer:
    """Show the queue."""
    found = await read_queue(call, query)
    return await show_ops(
        call,
        "ops_integrity.html",
        "/ops/integrity",
        items=found.items,
        names=await tool_names(call, [one.tool for one in found.items]),
        next=found.next,
        queue_status=query.status,
        filters=FILTERS,
    )


@page("/ops/integrity/{id}", CohortQuery, _DECIDER)
async def cohort_page(call: Call, query: CohortQuery) -> Answer:
    """Show a cohort with the evidence, and what can be decided."""
    return await _show_cohort(call, word=_FLASHES.get(query.said))


@action("/ops/integrity/{id}/decision", CohortDecision, _DECIDER)
async def decision_form(call: Call, form: CohortDecision) -> Answer:
    """Decide on a cohort."""
    here = f"/ops/integrity/{call.path['id']}"
    try:
        answer = await post_decision(call, form)
    except CohortChanged:
        return back(here, None, "changed")
    except CohortHeld as error:
        return await _show_cohort(call, 409, wrong=str(error))
    except BadInput as error:
        return await _show_cohort(call, 400, wrong=f"The {error.errors[0].pointer[1:]} can't be taken: {error}.")
    return back(here, answer.position, answer.status)


async def _show_cohort(call: Call, status: int = 200, **values: Any) -> Answer:
    found = await read_cohort(call)
    seen = await evidence.read(call.site.database, found.cohort)
    first = await queue.queue(call.site.database, ("waiting", "pending"), None, 2)
    return await show_ops(
        call,
        "ops_cohort.html",
        "/ops/integrity",
        status=status,
        one=_item(found),
        evidence=seen,
        histogram=bars.histogram(seen),
        ages=bars.rows(seen.ages),
        spacing=bars.rows(seen.spacing),
        names=await tool_names(call, [found.slug, *(other.tool for other in seen.shared)]),
        following=next((one.cohort.id for one in first if one.cohort.id != found.cohort.id), None),
        takes_two=found.status == "waiting" and 0 < call.site.settings.second_operator_above < found.cohort.votes,
        **{"word": None, "wrong": None, **values},
    )


def _item(row: Queued) -> CohortItem:
    one = row.cohort
    return CohortItem(
        id=one.id,
        tool=row.slug,
        choice=one.choice,  # type: ignore[arg-type]  # a constraint of the table
        from_=one.begins,
        to=one.ends,
        votes=one.votes,
        scores=one.scores,
        p=one.p,
        effect=TallyChange(community(*one.before), community(*one.after)),
        unsettles=one.unsettles,
        status=row.status,
        revision=row.revision,
        found_at=one.found_at,
        reason=row.reason,
        by=row.by,
        voters=row.voters,
        corrected=row.corrected,
        decided_at=row.decided_at,
    )
