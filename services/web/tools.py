"""Tools: their cards in every order, their categories, and a page for each with its trend and its readers' reviews."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from projections import related, tools
from projections.cards import Card
from projections.tools import Place, Sort
from services.web.as_of import AsOfQuery, CardAsOf, LogPosition, answer_card, read_card, read_moment
from services.web.card_cache import CachedCard
from services.web.category_paths import category_path
from services.web.chart import DayTally, Trend, trend
from services.web.flash import FLASHES, PageQuery
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.moved import old_path
from services.web.http.pages import page, public_page, show
from services.web.http.queries import CategoryName, ListQuery, listed, page_of
from services.web.markdown import markdown_answer, tool_text, wants_markdown
from services.web.page_head import Head, tool_head
from services.web.personas import read_roles
from services.web.reviews import read_reviews
from services.web.site import Call, Site
from services.web.tallies import HistoryQuery, read_history
from services.web.verdict_feeds import verdict_feeds

SORTS: Final = {"name": "Name", "community": "Community", "settled": "Settled", "panel": "Panel", "trending": "Trending"}
_PAIRS: Final = 6
_NEAR: Final = 3
_REVIEWS: Final = 10


class ToolsQuery(ListQuery, frozen=True, kw_only=True):
    """Which tools, in which order."""

    category: CategoryName | None = None
    sort: Sort = "name"


class ToolPageQuery(PageQuery, frozen=True, kw_only=True):
    """A tool's page; `cursor` is where its reviews go on, `position` a moment of the log that it is shown as of."""

    cursor: str | None = None
    position: LogPosition | None = None


class ToolsPage(msgspec.Struct, frozen=True):
    """A page of tools."""

    items: list[Card]
    next: str | None


async def read_cards(site: Site, slugs: Sequence[str]) -> list[Card]:
    """Return the cards of those slugs that are listed tools, in the order given."""
    found = await site.cards.find(slugs)
    return [found[slug].card for slug in slugs if slug in found]


async def read_tools(call: Call, query: ToolsQuery) -> ToolsPage:
    """Return a page of listed tools."""
    name = f"tools {query.sort} {query.category or ''}"
    read = partial(tools.tools, call.site.reading, query.sort, query.category)
    places, more = await page_of(call, name, query, Place, read, lambda place: place)
    return ToolsPage(await read_cards(call.site, [place.slug for place in places]), more)


@endpoint("GET", "/v1/tools/{tool}", takes=AsOfQuery, gives=CardAsOf, statuses=(200, 301, 304))
async def get_tool(call: Call, query: AsOfQuery) -> Answer:
    """Show a tool with the panel's reviews and the community's tally, as it is or as it was.

    At a position of the log it is the same for ever: what to quote. `as_of` leads to the position of a time.
    """
    cards = call.site.cards
    tool = await cards.listed(call.path["tool"])
    return await answer_card(call, tool, query) if query.is_past else cards.answer(tool).answer(call.head.get(b"if-none-match"))


@endpoint("GET", "/v1/tools", takes=ToolsQuery, gives=ToolsPage, statuses=(200, 304))
async def get_tools(call: Call, query: ToolsQuery) -> Answer:
    """List tools: by name, by the community, by what is settled, by the panel, or by trend.

    The community's order goes by the lower end of `interval`, the settled one by that of `settled_interval`. Trending counts
    the net votes of the last 7 whole days, up to now, from the beginning of an hour.
    """
    found = await read_tools(call, query)
    return listed(call, found, found.next)


async def tool_names(call: Call, slugs: Sequence[str]) -> dict[str, str]:
    """Return the names of those slugs that are listed tools."""
    return {slug: cached.card.name for slug, cached in (await call.site.cards.find(sorted(set(slugs)))).items()}


@page("/tools", ToolsQuery)
async def tools_page(call: Call, query: ToolsQuery) -> Answer:
    """Show a list of tools."""
    found = await read_tools(call, query)
    return show(
        call,
        "tools.html",
        cache=public_page(call, many=True),
        head=_list_head(query.category),
        cards=found.items,
        next=found.next,
        categories=await tools.categories(call.site.reading),
        category=query.category,
        sort=query.sort,
        sorts=SORTS,
    )


def _list_head(category: str | None) -> Head:
    return Head(
        path="/tools" if category is None else category_path(category),
        title="AI tools, panel and community verdicts" if category is None else f"AI tools in {category}: ship or skip?",
        description=f"{'All tools' if category is None else f'The tools in {category}'} "
        "with the panel’s verdict and the community’s vote on each, and how sure it is.",
        feeds=verdict_feeds(category),
    )


old_tool_page = old_path("/tool/{tool}", "/tools/{tool}")


@page("/tools/{tool}", ToolPageQuery)
async def tool_page(call: Call, query: ToolPageQuery) -> Answer:
    """Show a tool, as a page or as markdown."""
    tool = await call.site.cards.listed(call.path["tool"])
    if query.position is not None:
        return await _past_page(call, tool, query.position)
    if wants_markdown(call):
        return markdown_answer(call, tool_text(call.site.settings.base_url, tool.card), tool.slug)
    reviews = await read_reviews(call, ListQuery(limit=_REVIEWS, cursor=query.cursor))
    successor = await read_cards(call.site, [tool.card.successor] if tool.card.successor else [])
    return show(
        call,
        "tool.html",
        cache=public_page(call, tool.slug, vary=(b"Accept",)),
        head=replace(tool_head(call.site.settings.base_url, tool.card), feeds=verdict_feeds(tool.card.category)),
        card=tool.card,
        roles=await read_roles(call.site),
        successor=successor[0] if successor else None,
        reviews=reviews.items,
        next=reviews.next,
        trend=await _trend(call),
        pairs=await tools.pairs_of(call.site.reading, tool.tool, _PAIRS),
        near=await related.near(call.site.reading, tool.tool, _NEAR),
        word=FLASHES.get(query.said),
    )


async def _past_page(call: Call, tool: CachedCard, position: int) -> Answer:
    """Show a tool as it was at a position: an address to quote, whose numbers never change.

    What stands around them does, with each release, so nobody keeps the page longer than any other; the same as JSON stays.
    """
    moment = await read_moment(call, AsOfQuery(position=position))
    card = await read_card(call, tool, moment)
    base_url = call.site.settings.base_url
    if wants_markdown(call):
        return markdown_answer(call, tool_text(base_url, card), tool.slug)
    cache = public_page(call, tool.slug, vary=(b"Accept",))
    return show(call, "tool_then.html", cache=cache, head=tool_head(base_url, card), card=card, at=moment.time)


async def _trend(call: Call) -> Trend | None:
    """Draw the last 30 days of the tool in the path, each as it was counted at its end and labelled by its beginning."""
    history = await read_history(call, HistoryQuery())
    return trend([DayTally(point.at - timedelta(days=1), point.ship, point.skip) for point in history.points])
