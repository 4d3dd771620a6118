"""Puzzles: which tools' votes cost about a second of work, demanding it of a vote, and switching it on and off.

A solved puzzle is used once, which Valkey counts for all processes, as it does limits. While Valkey is away each process counts
by itself: a solution may then count once in each, and no vote fails for it.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from events.catalog import ToolNotListed
from events.commands.puzzles import SwitchPuzzle
from projections import tools
from services.clock import fresh_id, fresh_number, now
from services.integrity.puzzle import DETECTOR, read_switched
from services.web.filters import clock, minute
from services.web.http.answers import Answer
from services.web.http.bodies import Input, Slug
from services.web.http.call import operator
from services.web.http.counters import Limit
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page, show
from services.web.http.problems import TooManyRequests
from services.web.http.puzzles import HEADER, MOST, SECONDS, Puzzle
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call
from services.web.tools import tool_names

MOST_HOURS: Final = 168
SOLUTION: Final = {"Ballotpress-Puzzle": "The solution of a puzzle: its `token`, a colon, and the 32 bytes in hex."}
# A limit's window slides: it holds for five sixths of it at least.
_ONCE: Final = Limit("puzzle", 1, SECONDS * 6 // 5, "use of a puzzle")
_FLASHES: Final[dict[str | None, str]] = {
    "on": "Done. Every vote on it brings its work along, from now on.",
    "off": "Done. Its votes need no work any more.",
    "unknown": "No listed tool has this slug.",
}

Hours = Annotated[int, Meta(ge=1, le=MOST_HOURS)]


class PuzzleUnsolved(Exception):
    """Very many votes come in for the tool, so for a while each of them costs about a second of work.

    Nothing was counted. The problem's `puzzle` says what to work out, and the API's page how. Taking a vote back needs no work.
    """

    def __init__(self, puzzle: Puzzle, until: datetime) -> None:
        super().__init__(
            f"Votes on this tool cost a moment of work until {clock(until)}: solve `puzzle`, and send the vote again "
            "with `Ballotpress-Puzzle: TOKEN:KEY`."
        )
        self.puzzle = puzzle
        self.until = until


class PuzzleSwitch(Input, frozen=True, kw_only=True):
    """For how many hours votes bring a solved puzzle along."""

    hours: Hours = 1


class PuzzleState(msgspec.Struct, frozen=True):
    """Until when votes on a tool bring a solved puzzle along; null if they don't."""

    tool: Slug
    until: datetime | None


class PuzzledTool(msgspec.Struct, frozen=True):
    """A tool whose votes bring a solved puzzle along, until when, and who switched that on."""

    tool: Slug
    until: datetime
    by: str


class PuzzlesAnswer(msgspec.Struct, frozen=True):
    """The tools whose votes bring a solved puzzle along, the first to end first."""

    items: Sequence[PuzzledTool]


class PuzzlesQuery(Query, frozen=True, kw_only=True):
    """The query of the puzzles' page; `said` names the message to show."""

    said: Literal["on", "off", "unknown"] | None = None


class PuzzleForm(msgspec.Struct, frozen=True, kw_only=True):
    """The tool, and for how many hours; none to switch its puzzle off."""

    tool: Slug
    hours: Hours | None = None


async def require_solution(call: Call, slug: str) -> None:
    """Refuse a vote on a tool with a puzzle, unless it brings an unused solution. Raises PuzzleUnsolved, ToolNotListed."""
    site = call.site
    if not site.switches:  # nearly always: a vote costs nothing more
        return
    tool = (await site.cards.listed(slug)).tool
    until = site.switches.until(tool)
    if until is None:
        return
    about = f"{tool} {call.visitor}"
    salt = site.puzzles.solved(about, call.head.get(HEADER, b""), now())
    if salt is None or not await _is_first_use(call, salt):
        # In a thread, since it takes a while and the others needn't wait.
        made = await asyncio.to_thread(site.puzzles.make, about, fresh_id(), fresh_number(MOST), now())
        raise PuzzleUnsolved(made, until)


async def _is_first_use(call: Call, salt: str) -> bool:
    try:
        await call.site.limits.take((_ONCE, salt))
    except TooManyRequests:
        return False
    return True


def unsolved_page(call: Call, error: PuzzleUnsolved) -> Answer:
    """Show a reader without scripts what to do about a vote that wasn't counted."""
    text = (
        "Very many votes come in for this tool just now, so each of them asks the browser for a moment of work. A reader "
        "hardly notices; a flood of votes gets slow. It needs JavaScript: allow it for this site, and vote again. Or come back "
        f"after {minute(error.until)}, when it ends by itself. A vote can be taken back without it."
    )
    links = [(f"/tools/{call.path['tool']}", "Back to the tool")]
    return show(
        call, "message.html", status=428, eyebrow="Not counted yet", heading="One moment, please", text=text, links=links
    )


@endpoint("PUT", "/v1/ops/tools/{tool}/puzzle", by=operator("voters"), takes=PuzzleSwitch, gives=PuzzleState)
async def put_puzzle(call: Call, given: PuzzleSwitch) -> PuzzleState:
    """Have each vote on a tool cost about a second of work, for some hours from now; then that ends by itself."""
    return PuzzleState(call.path["tool"], await _switch(call, call.path["tool"], given.hours))


@endpoint("DELETE", "/v1/ops/tools/{tool}/puzzle", by=operator("voters"), gives=PuzzleState)
async def delete_puzzle(call: Call) -> PuzzleState:
    """Ask no work of a tool's votes any more; 200 as well when none was asked."""
    return PuzzleState(call.path["tool"], await _switch(call, call.path["tool"], None))


@endpoint("GET", "/v1/ops/puzzles", by=operator("voters"), gives=PuzzlesAnswer)
async def get_puzzles(call: Call) -> PuzzlesAnswer:
    """Return the tools whose votes bring a solved puzzle along."""
    return PuzzlesAnswer(await _puzzled(call))


async def _switch(call: Call, slug: str, hours: int | None) -> datetime | None:
    """Switch a tool's puzzle on or off; return until when it is on. Raises ToolNotListed."""
    until = None if hours is None else now() + timedelta(hours=hours)
    receipt = await call.site.committer.submit(SwitchPuzzle(slug, until, call.operator, key=call.key))
    await call.site.switches.read_on()
    return receipt.value


async def _puzzled(call: Call) -> Sequence[PuzzledTool]:
    switched = await read_switched(call.site.database)
    slugs = await tools.slugs(call.site.database, [one.tool for one in switched])
    return [PuzzledTool(slugs.get(one.tool, one.tool), one.until, one.by) for one in switched]


@page("/ops/puzzles", PuzzlesQuery, operator("voters"))
async def puzzles_page(call: Call, query: PuzzlesQuery) -> Answer:
    """Show the tools whose votes bring work along, and the form that switches it on."""
    found = await _puzzled(call)
    names = await tool_names(call, [one.tool for one in found])
    return await show_ops(
        call,
        "ops_puzzles.html",
        "/ops/puzzles",
        puzzled=found,
        names=names,
        word=_FLASHES.get(query.said),
        most=MOST_HOURS,
        detector=DETECTOR,
    )


@action("/ops/puzzles", PuzzleForm, operator("voters"))
async def puzzles_form(call: Call, form: PuzzleForm) -> Answer:
    """Switch a tool's puzzle on for some hours, or off."""
    try:
        await _switch(call, form.tool, form.hours)
    except ToolNotListed:
        return back("/ops/puzzles", None, "unknown")
    return back("/ops/puzzles", None, "on" if form.hours else "off")
