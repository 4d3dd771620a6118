"""Corrections: which votes were removed from the tallies or restored, when and why. Never whose."""

from datetime import datetime
from functools import partial
from typing import Final, Literal

import msgspec

from projections import corrections
from projections.corrections import Correction
from projections.tally import Community, community
from services.web.flash import ListPageQuery
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.queries import ListQuery, listed, page_of
from services.web.page_head import Head
from services.web.site import Call
from services.web.tools import tool_names


class CorrectedTool(msgspec.Struct, frozen=True):
    """A tool, by slug, with its tally before and after a correction."""

    tool: Slug
    before: Community
    after: Community


class CorrectionAnswer(msgspec.Struct, frozen=True):
    """One correction: how many voters and votes it removed or restored, why, and the listed tools that it changed."""

    at: datetime
    action: Literal["disqualified", "reinstated"]
    reason: str
    voters: int
    votes: int
    tools: list[CorrectedTool]
    position: int


class CorrectionsPage(msgspec.Struct, frozen=True):
    """A page of corrections, newest first."""

    items: list[CorrectionAnswer]
    next: str | None


async def read_corrections(call: Call, query: ListQuery) -> CorrectionsPage:
    """Return a page of the corrections, newest first."""
    rows, more = await page_of(call, "corrections", query, int, partial(corrections.corrections, call.site.reading))
    return CorrectionsPage([_answer(row) for row in rows], more)


@endpoint("GET", "/v1/corrections", takes=ListQuery, gives=CorrectionsPage, statuses=(200, 304))
async def get_corrections(call: Call, query: ListQuery) -> Answer:
    """List the corrections, newest first: when, how many votes, of which tools, before and after, and why; never who."""
    found = await read_corrections(call, query)
    return listed(call, found, found.next)


_HEAD: Final = Head(
    path="/corrections",
    title="Corrections of the community’s votes",
    description="Every correction of the tallies: how many votes were taken out or restored, of which tools, when and why.",
)


@page("/corrections", ListPageQuery)
async def corrections_page(call: Call, query: ListPageQuery) -> Answer:
    """List the corrections, newest first."""
    found = await read_corrections(call, query)
    names = await tool_names(call, [tool.tool for one in found.items for tool in one.tools])
    return show(
        call,
        "corrections.html",
        cache=public_page(call, many=True),
        head=_HEAD,
        items=found.items,
        next=found.next,
        names=names,
    )


def _answer(row: Correction) -> CorrectionAnswer:
    tools = [CorrectedTool(tool.slug, community(*tool.before), community(*tool.after)) for tool in row.tools]
    return CorrectionAnswer(row.recorded_at, row.action, row.reason, row.voters, row.votes, tools, row.position)
