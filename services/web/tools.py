"""Tools: cards, lists of them, categories, the panel's reviewers."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from projections import tools as lists
from projections.cards import Card
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, Query, listed
from services.web.site import Call


class ToolsQuery(ListQuery, frozen=True, kw_only=True):
    """Which tools, in which order."""

    category: Annotated[str, Meta(max_length=120)] | None = None
    sort: Literal["name", "community", "panel", "trending"] = "name"


class ToolsPage(msgspec.Struct, frozen=True):
    """A page of tools."""

    items: list[Card]
    next: str | None


class Categories(msgspec.Struct, frozen=True):
    """Every category of listed tools with how many it holds."""

    items: list[lists.Category]


class Reviewers(msgspec.Struct, frozen=True):
    """Every persona of the panel."""

    items: list[lists.Reviewer]


class VerdictsQuery(ListQuery, frozen=True, kw_only=True):
    """Which of a persona's verdicts."""

    category: Annotated[str, Meta(max_length=120)] | None = None


class VerdictsPage(msgspec.Struct, frozen=True):
    """A page of a persona's verdicts, last changed first."""

    persona: str
    items: list[lists.PersonaVerdict]
    next: str | None


@endpoint("GET", "/v1/tools/{tool}", takes=Query, gives=Card, statuses=(200, 304), problems=(404, 503))
async def tool(call: Call, query: Query) -> Answer:
    """Show a tool with the panel's reviews and the community's tally."""
    if query.after is not None:
        await call.site.reach(query.after)
    slug = call.path["tool"]
    kept = await call.site.cards.one(slug)
    if kept is None:
        raise NotFound("No listed tool has this slug.")
    return call.site.cards.answer(kept).answer(call.head.get(b"if-none-match"))


@endpoint("GET", "/v1/tools", takes=ToolsQuery, gives=ToolsPage, statuses=(200, 304), problems=(503,))
async def tools(call: Call, query: ToolsQuery) -> Answer:
    """List tools: by name, by the community (lower Wilson bound), by the panel, or by what trends.

    Trending counts the net votes of the last 7 whole days, up to now, from the beginning of an hour.
    """
    await call.site.reach(query.after)
    name = f"tools {query.sort} {query.category or ''}"
    after = call.site.cursors.open(name, query.cursor, lists.Place) if query.cursor else None
    places = await lists.tools(call.site.database, query.sort, query.category, after, query.limit + 1)
    shown = places[: query.limit]
    found = await call.site.cards.find([place.slug for place in shown])
    more = call.site.cursors.seal(name, shown[-1]) if len(places) > query.limit else None
    return listed(call, ToolsPage([found[p.slug].card for p in shown if p.slug in found], more), more)


@endpoint("GET", "/v1/categories", takes=Query, gives=Categories, statuses=(200, 304), problems=(503,))
async def categories(call: Call, query: Query) -> Answer:
    """List the categories with how many listed tools each holds."""
    await call.site.reach(query.after)
    return listed(call, Categories(await lists.categories(call.site.database)))


@endpoint("GET", "/v1/reviewers", takes=Query, gives=Reviewers, statuses=(200, 304), problems=(503,))
async def reviewers(call: Call, query: Query) -> Answer:
    """List the panel's personas with how many tools each reviewed and shipped, by category too."""
    await call.site.reach(query.after)
    return listed(call, Reviewers(await lists.reviewers(call.site.database)))


@endpoint("GET", "/v1/reviewers/{persona}", takes=VerdictsQuery, gives=VerdictsPage, statuses=(200, 304), problems=(404, 503))
async def verdicts(call: Call, query: VerdictsQuery) -> Answer:
    """List a persona's verdicts, last changed first."""
    await call.site.reach(query.after)
    persona = call.path["persona"]
    name = f"reviewer {persona} {query.category or ''}"
    before = call.site.cursors.open(name, query.cursor, int) if query.cursor else None
    shown_as = await lists.persona(call.site.database, persona)
    if shown_as is None:
        raise NotFound("No persona has this name.")
    rows = await lists.verdicts(call.site.database, persona, query.category, before, query.limit + 1)
    more = call.site.cursors.seal(name, rows[query.limit - 1].position) if len(rows) > query.limit else None
    return listed(call, VerdictsPage(shown_as, rows[: query.limit], more), more)
