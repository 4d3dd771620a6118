"""What a visitor did with a tool: the vote, the bookmark, the review.

It is read from the log, so it shows the visitor's own writes at once. Public pages are the same for everybody and hold none
of it: their script asks for it, and without script it stands on a page of its own.
"""

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from events import ballots, bookmarks, reviews
from events.ballots import Choice
from events.log.event import Event, Recorded
from events.reviews import ReviewPlaced, Status, place_stream
from services.web.flash import ABOUT_REVIEWS, FLASHES, PageQuery
from services.web.http.answers import NO_STORE, Answer, json_answer
from services.web.http.auth import find_visitor
from services.web.http.bodies import Id, Slug
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, show
from services.web.http.queries import Query
from services.web.reviews import read_own_review
from services.web.site import Call

MOST_TOOLS: Final = 50


class VisitorState(NamedTuple):
    """A visitor's own vote on a tool, whether the tool is bookmarked, and the id of the visitor's review of it."""

    choice: Choice | None = None
    kept: bool = False
    review: str | None = None


class ToolsAsked(Query, frozen=True, kw_only=True):
    """Which tools, by their slugs."""

    tool: Annotated[list[Slug], Meta(min_length=1, max_length=MOST_TOOLS)]


class OwnReviewState(msgspec.Struct, frozen=True):
    """A visitor's review, and what has become of it."""

    id: Id
    status: Status


class OwnTool(msgspec.Struct, frozen=True):
    """What a visitor did with a tool."""

    tool: Slug
    choice: Choice | None
    bookmarked: bool
    review: OwnReviewState | None


class OwnTools(msgspec.Struct, frozen=True):
    """What a visitor did with several tools."""

    items: list[OwnTool]


async def read_states(call: Call, tools: Sequence[str]) -> list[VisitorState]:
    """Return what the caller did with each of these tools, by their ids; empty states for callers without a cookie."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is None:
        return [VisitorState()] * len(tools)
    streams = [
        stream
        for tool in tools
        for stream in (ballots.stream(visitor, tool), bookmarks.stream(visitor, tool), place_stream(visitor, tool))
    ]
    lasts = await call.site.log.lasts(streams)
    return [_state(*lasts[at : at + 3]) for at in range(0, len(lasts), 3)]


def _state(ballot: Recorded[Event] | None, bookmark: Recorded[Event] | None, place: Recorded[Event] | None) -> VisitorState:
    return VisitorState(
        None if ballot is None else ballots.evolve(None, ballot.event),
        bookmark is not None and bookmarks.evolve(False, bookmark.event),
        place.event.review if place is not None and isinstance(place.event, ReviewPlaced) else None,
    )


async def _read_statuses(call: Call, ids: Sequence[str]) -> dict[str, Status]:
    """Return what has become of each of these reviews; only who wrote any pays for a second look into the log."""
    found: dict[str, reviews.Review | None] = dict.fromkeys(ids)
    of_stream = {reviews.stream(id_): id_ for id_ in ids}
    for recorded in await call.site.log.since([*of_stream], 0) if ids else ():
        id_ = of_stream[recorded.stream]
        found[id_] = reviews.evolve(found[id_], recorded.event)
    return {id_: review.status for id_, review in found.items() if review is not None}


@endpoint("GET", "/v1/visitors/me/tools", takes=ToolsAsked, gives=OwnTools)
async def get_own_tools(call: Call, query: ToolsAsked) -> Answer:
    """Show what the caller did with some tools, up to 50: vote, bookmark, and what has become of a review.

    From the log, so nothing is late. A caller without a token has done nothing; slugs that are no listed tools are left out.
    """
    found = await call.site.cards.find_any(list(dict.fromkeys(query.tool)))
    asked = [slug for slug in dict.fromkeys(query.tool) if slug in found]
    states = await read_states(call, [found[slug].tool for slug in asked])
    statuses = await _read_statuses(call, [state.review for state in states if state.review])
    items = [
        OwnTool(slug, state.choice, state.kept, OwnReviewState(state.review, statuses[state.review]) if state.review else None)
        for slug, state in zip(asked, states, strict=True)
    ]
    return json_answer(OwnTools(items), headers=NO_STORE)


@page("/tools/{tool}/mine", PageQuery)
async def own_tool_page(call: Call, query: PageQuery) -> Answer:
    """Show what the visitor did with a tool: the vote, the bookmark, and the review with its form."""
    tool = await call.site.cards.listed(call.path["tool"])
    [state] = await read_states(call, [tool.tool])
    visitor = find_visitor(call.head, call.site.tokens)
    return show(
        call,
        "mine.html",
        card=tool.card,
        own=state,
        is_known=visitor is not None,
        review=await read_own_review(call.site, visitor, state.review) if visitor and state.review else None,
        word=FLASHES.get(query.said),
        about_review=query.said in ABOUT_REVIEWS,
    )
