"""Disqualification: one voter over the API, a cohort at once on the operators' page, with a preview of the tallies."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from events.commands.voters import CorrectVoters
from events.log import ids
from events.log.command import Receipt
from events.voters import CorrectionRecorded, VoterUnknown
from projections import tools
from projections.cards import tallies_at_head
from projections.tally import community
from services.clock import fresh_id
from services.web.corrections import CorrectedTool
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, Id, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.plain_words import faults_for
from services.web.site import Call
from services.web.tools import tool_names

MOST_VOTERS: Final = 1000
_FLASHES: Final[dict[str | None, str]] = {
    "corrected": "Done. The tallies will follow.",
    "nothing": "Nothing to do: all of them are in that state already.",
}


class Disqualification(Input, frozen=True, kw_only=True):
    """The reason, which is public."""

    reason: Reason


class Reinstatement(msgspec.Struct, frozen=True, kw_only=True):
    """The reason, which is public."""

    reason: Reason = "Reinstated by an operator."


class VoterAnswer(msgspec.Struct, frozen=True):
    """Whether the voter is disqualified now, and how many votes went or came; `position` is that of the last event on it."""

    visitor: Id
    disqualified: bool
    votes: int
    position: int | None


class VotersPageQuery(Query, frozen=True, kw_only=True):
    """The query of the voters' page; `said` names the message to show."""

    said: Literal["corrected", "nothing"] | None = None


class VotersForm(msgspec.Struct, frozen=True, kw_only=True):
    """The voters, the reason, and whether to do it or to preview it."""

    voters: Annotated[str, Meta(max_length=40_000)]
    reason: Annotated[str, Meta(max_length=REASON_MOST)]
    action: Literal["void", "reinstate"]
    step: Literal["preview", "do"]


@endpoint("POST", "/v1/ops/voters/{visitor}/disqualification", by=operator("voters"), takes=Disqualification, gives=VoterAnswer)
async def post_disqualification(call: Call, given: Disqualification) -> VoterAnswer:
    """Remove a voter's votes from every tally and refuse new ones; 200 as well when it is so already."""
    return await _correct_one(call, given.reason, reinstate=False)


@endpoint("DELETE", "/v1/ops/voters/{visitor}/disqualification", by=operator("voters"), takes=Reinstatement, gives=VoterAnswer)
async def delete_disqualification(call: Call, given: Reinstatement) -> VoterAnswer:
    """Restore a disqualified voter's votes and let it vote again; 200 as well when it is so already."""
    return await _correct_one(call, given.reason, reinstate=True)


async def _correct_one(call: Call, reason: str, *, reinstate: bool) -> VoterAnswer:
    visitor = call.path["visitor"]
    receipt = await _correct(call, [visitor], reason, reinstate=reinstate)
    votes = 0 if receipt.value is None else receipt.value.votes
    return VoterAnswer(visitor, not reinstate, votes, receipt.position)


async def _correct(
    call: Call, voters: Sequence[str], reason: str, *, reinstate: bool, dry: bool = False
) -> Receipt[CorrectionRecorded | None]:
    """Disqualify or reinstate voters; with `dry` only say what that would do. Raises BadInput, VoterUnknown."""
    check_line("/reason", reason)
    command = CorrectVoters(
        fresh_id(), voters, reason, tallies_at_head, reinstate=reinstate, operator=call.operator, dry=dry, key=call.key
    )
    return await call.site.committer.submit(command)


@page("/ops/voters", VotersPageQuery, operator("voters"))
async def voters_page(call: Call, query: VotersPageQuery) -> Answer:
    """Show the form that disqualifies voters or reinstates them."""
    return await _show(call, word=_FLASHES.get(query.said))


@action("/ops/voters", VotersForm, operator("voters"))
async def voters_form(call: Call, form: VotersForm) -> Answer:
    """Show what a correction would do to the tallies, or do it."""
    is_preview = form.step == "preview"
    try:
        voters = _read_ids(form.voters)
        receipt = await _correct(call, voters, form.reason, reinstate=form.action == "reinstate", dry=is_preview)
    except VoterUnknown as error:
        return await _show(call, 404, form=form, wrong=f"No event is known of these voters: {error}")
    except BadInput as error:
        return await _show(call, 400, form=form, wrong=" ".join(faults_for(error, is_form=True)))
    if receipt.value is None:
        return back("/ops/voters", None, "nothing")
    if is_preview:
        return await _show(call, form=form, preview=receipt.value, **await _corrected(call, receipt.value))
    return back("/ops/voters", receipt.position, "corrected")


async def _show(call: Call, status: int = 200, **values: Any) -> Answer:
    values = {"form": None, "preview": None, "wrong": None, "word": None, **values}
    return await show_ops(call, "ops_voters.html", "/ops/voters", status=status, **values)


async def _corrected(call: Call, correction: CorrectionRecorded) -> dict[str, Any]:
    """Return the tools that a correction changes, and their names by slug."""
    changed = await _corrected_tools(call, correction)
    return {"tools": changed, "names": await tool_names(call, [tool.tool for tool in changed])}


async def _corrected_tools(call: Call, correction: CorrectionRecorded) -> list[CorrectedTool]:
    """Return the tools that a correction changes, by slug, or by id where they have none."""
    slugs = await tools.slugs(call.site.database, [tool.tool for tool in correction.tools])
    changed = [
        CorrectedTool(slugs.get(tool.tool, tool.tool), community(*tool.before), community(*tool.after))
        for tool in correction.tools
    ]
    return sorted(changed, key=lambda tool: tool.tool)


def _read_ids(text: str) -> list[str]:
    """Return visitors' ids that are separated by space, commas or lines. Raises BadInput."""
    words = text.replace(",", " ").split()
    if not words or len(words) > MOST_VOTERS:
        raise BadInput.at("/voters", f"must be 1 to {MOST_VOTERS} visitors' ids")
    if wrong := [word for word in words if not ids.is_id(word)]:
        raise BadInput.at("/voters", f"holds what is no visitor's id: {wrong[0][:40]}")
    return words
