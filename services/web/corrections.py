"""Corrections: which votes were taken out of the tallies or given back, when and why. Never whose."""

from datetime import datetime
from typing import Literal

import msgspec

from projections import corrections
from projections.corrections import Correction
from projections.tally import Community, community
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.queries import ListQuery, listed
from services.web.site import Call


class CorrectedTool(msgspec.Struct, frozen=True):
    """A tool's tally, and what it said, before and after a correction."""

    tool: Slug
    before: Community
    after: Community


class CorrectionAnswer(msgspec.Struct, frozen=True):
    """One correction: how many voters and votes it took away or gave back, why, and the listed tools that it changed."""

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


@endpoint("GET", "/v1/corrections", takes=ListQuery, gives=CorrectionsPage, statuses=(200, 304))
async def recorded(call: Call, page: ListQuery) -> Answer:
    """List the corrections, newest first: when, how many votes, of which tools, before and after, and why; never who."""
    await call.site.reach(page.after)
    before = call.site.cursors.open("corrections", page.cursor, int) if page.cursor else None
    rows = await corrections.corrections(call.site.database, before, page.limit + 1)
    more = call.site.cursors.seal("corrections", rows[page.limit - 1].position) if len(rows) > page.limit else None
    return listed(call, CorrectionsPage([_answer(row) for row in rows[: page.limit]], more), more)


def _answer(row: Correction) -> CorrectionAnswer:
    tools = [CorrectedTool(tool.slug, community(*tool.before), community(*tool.after)) for tool in row.tools]
    return CorrectionAnswer(row.recorded_at, row.action, row.reason, row.voters, row.votes, tools, row.position)
