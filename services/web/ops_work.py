"""What operators decide: readers' reviews, voters' disqualification, events that a halted view is to pass."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from events.commands.quarantine import DropEvent
from events.commands.voters import CorrectVoters
from events.log import ids
from events.reviews import ReviewEditedSince
from events.voters import VoterUnknown
from projections import tools as lists
from projections.cards import tallies_at_head
from projections.tally import community
from services.clock import fresh_id
from services.status.views import read_present_views
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, check_line
from services.web.http.call import operator
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import Query
from services.web.moderation import Judgement, QueueQuery, judge, read_queue
from services.web.ops import show_ops
from services.web.site import Call

_SAID: Final = {
    "approved": "Approved.",
    "rejected": "Rejected.",
    "edited-since": "The author edited this review since: read it again.",
    "corrected": "Done. The tallies follow.",
    "nothing": "Nothing to do: each of them is so already.",
    "dropped": "The view will pass over that event, now and in every rebuild.",
}
_Said = Literal["approved", "rejected", "edited-since", "corrected", "nothing", "dropped"]
_Text = Annotated[str, Meta(max_length=REASON_MOST)]
MOST_VOTERS: Final = 1000


class AskedQueue(QueueQuery, frozen=True, kw_only=True):
    """Which reviews, and what was just done."""

    said: _Said | None = None


class AskedWork(Query, frozen=True, kw_only=True):
    """A page, and what was just done."""

    said: _Said | None = None


class DecisionForm(Struct, frozen=True, kw_only=True):
    """A decision on a review's revision."""

    decision: Literal["approve", "reject"]
    revision: Annotated[int, Meta(ge=1)]
    reason: _Text | None = None


class VotersForm(Struct, frozen=True, kw_only=True):
    """Which voters, why, and whether to do it or to look first."""

    voters: Annotated[str, Meta(max_length=40_000)]
    reason: _Text
    action: Literal["void", "reinstate"]
    step: Literal["preview", "do"]


class DropForm(Struct, frozen=True, kw_only=True):
    """Which position a halted view is to pass, and why."""

    position: Annotated[int, Meta(ge=1)]
    reason: _Text


@page("/ops/reviews", AskedQueue, operator("moderate"))
async def queue(call: Call, asked: AskedQueue) -> Answer:
    """Show the moderation queue."""
    found = await read_queue(call.site, asked)
    word = _SAID[asked.said] if asked.said else None
    return show_ops(
        call, "ops_reviews.html", "/ops/reviews", items=found.items, next=found.next, queue_status=asked.status, word=word
    )


@action("/ops/reviews/{id}/decision", DecisionForm, operator("moderate"))
async def decide(call: Call, form: DecisionForm) -> Answer:
    """Approve or reject a review."""
    try:
        answer = await judge(call, Judgement(decision=form.decision, revision=form.revision, reason=form.reason))
    except ReviewEditedSince:
        return back("/ops/reviews", None, "edited-since")
    return back("/ops/reviews", answer.position, "approved" if form.decision == "approve" else "rejected")


@page("/ops/voters", AskedWork, operator("voters"))
async def voters(call: Call, asked: AskedWork) -> Answer:
    """Show the form that disqualifies voters or reinstates them."""
    word = _SAID[asked.said] if asked.said else None
    return show_ops(call, "ops_voters.html", "/ops/voters", form=None, preview=None, wrong=None, word=word)


@action("/ops/voters", VotersForm, operator("voters"))
async def correct(call: Call, form: VotersForm) -> Answer:
    """Show what a correction would do to the tallies, or do it."""
    check_line("/reason", form.reason)
    dry = form.step == "preview"
    try:
        command = CorrectVoters(
            fresh_id(), _ids(form.voters), form.reason, tallies_at_head,
            reinstate=form.action == "reinstate", operator=call.operator, dry=dry,
        )  # fmt: skip
        receipt = await call.site.committer.submit(command)
    except VoterUnknown as error:
        wrong = f"Nobody of these ids has any event: {error}"
        return show_ops(call, "ops_voters.html", "/ops/voters", form=form, preview=None, wrong=wrong, word=None)
    correction = receipt.value
    if correction is None:
        return back("/ops/voters", None, "nothing")
    if not dry:
        return back("/ops/voters", receipt.position, "corrected")
    slugs = await lists.slugs(call.site.database, [tool.tool for tool in correction.tools])
    tools = [(slugs.get(t.tool, t.tool), community(*t.before), community(*t.after)) for t in correction.tools]
    preview = {"voters": correction.voters, "votes": correction.votes, "tools": sorted(tools, key=lambda tool: tool[0])}
    return show_ops(call, "ops_voters.html", "/ops/voters", form=form, preview=preview, wrong=None, word=None)


def _ids(text: str) -> list[str]:
    """Read visitors' ids, apart by space, commas or lines; BadInput."""
    words = text.replace(",", " ").split()
    if not words or len(words) > MOST_VOTERS:
        raise BadInput.at("/voters", f"must be 1 to {MOST_VOTERS} visitors' ids")
    if wrong := [word for word in words if not ids.is_id(word)]:
        raise BadInput.at("/voters", f"{wrong[0][:40]} is no visitor's id")
    return words


@page("/ops/quarantine", AskedWork, operator("read"))
async def quarantine(call: Call, asked: AskedWork) -> Answer:
    """Show where views have halted."""
    views = await read_present_views(call.site.database)
    word = _SAID[asked.said] if asked.said else None
    return show_ops(call, "ops_quarantine.html", "/ops/quarantine", halted=[view for view in views if view.halt], word=word)


@action("/ops/quarantine", DropForm, operator("voters"))
async def drop(call: Call, form: DropForm) -> Answer:
    """Let every view that has halted at a position pass it."""
    check_line("/reason", form.reason)
    views = await read_present_views(call.site.database)
    halted = [view.name for view in views if view.halt is not None and view.halt.position == form.position]
    if not halted:
        raise BadInput.at("/position", "no view has halted there")
    await call.site.committer.submit(DropEvent(halted, form.position, form.reason, call.operator))
    return back("/ops/quarantine", None, "dropped")
