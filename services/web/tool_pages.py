"""Tools: the list of them, and each with its panel, its trend, and what readers say."""

from datetime import timedelta
from typing import Final, Literal

from projections import hours
from projections import tools as lists
from projections.tools import Place
from services.clock import now
from services.web.card_cache import CachedCard
from services.web.chart import Standing, Trend, trend
from services.web.flash import ListPageQuery, PageQuery
from services.web.http.answers import Answer
from services.web.http.auth import find_visitor
from services.web.http.pages import ANYONES, page, show
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery
from services.web.own import Own, cache_for, own_of
from services.web.reviews import OwnReview, own_review, public_reviews
from services.web.site import Call

SORTS: Final = {"name": "Name", "community": "Community", "panel": "Panel", "trending": "Trending"}
DAYS: Final = 30
_PAIRS: Final = 6


class AskedTools(ListPageQuery, frozen=True, kw_only=True):
    """Which tools, in which order."""

    sort: Literal["name", "community", "panel", "trending"] = "name"


class AskedTool(PageQuery, frozen=True, kw_only=True):
    """A tool, and where its reviews go on."""

    cursor: str | None = None


@page("/tools", AskedTools)
async def tools(call: Call, asked: AskedTools) -> Answer:
    """List the tools."""
    site = call.site
    name = f"tools {asked.sort} {asked.category or ''}"
    after = site.cursors.open(name, asked.cursor, Place) if asked.cursor else None
    places = await lists.tools(site.database, asked.sort, asked.category, after, asked.limit + 1)
    shown = places[: asked.limit]
    found = await site.cards.find([place.slug for place in shown])
    return show(
        call,
        "tools.html",
        cache=ANYONES,
        cards=[found[place.slug].card for place in shown if place.slug in found],
        next=site.cursors.seal(name, shown[-1]) if len(places) > asked.limit else None,
        categories=await lists.categories(site.database),
        category=asked.category,
        sort=asked.sort,
        sorts=SORTS,
    )


@page("/tools/{tool}", AskedTool)
async def tool(call: Call, asked: AskedTool) -> Answer:
    """Show a tool."""
    kept = await find_tool(call, call.path["tool"])
    [own] = await own_of(call, [kept.tool])
    reviews = await public_reviews(call.site, kept.tool, ListQuery(limit=10, cursor=asked.cursor))
    return show(
        call,
        "tool.html",
        cache=cache_for(call),
        card=kept.card,
        own=own,
        review=await _own_review(call, own),
        reviews=reviews.items,
        next=reviews.next,
        trend=await _trend(call, kept.tool),
        pairs=await lists.pairs_of(call.site.database, kept.tool, _PAIRS),
        word=asked.word,
    )


async def find_tool(call: Call, slug: str) -> CachedCard:
    """Find a listed tool by its slug; NotFound."""
    kept = await call.site.cards.one(slug)
    if kept is None:
        raise NotFound("No listed tool has this name.")
    return kept


async def _own_review(call: Call, own: Own) -> OwnReview | None:
    visitor = find_visitor(call.head, call.site.tokens)
    if own.review is None or visitor is None:
        return None
    call.visitor = visitor
    return await own_review(call, own.review)


async def _trend(call: Call, tool: str) -> Trend | None:
    """Draw the last 30 days, as counted at the end of each; today stands as it does now."""
    end = now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    start = end - timedelta(days=DAYS)
    changes = await hours.changes(call.site.database, tool, start, end, "day", corrected=False)
    ship, skip = changes.get(None, (0, 0))
    points = []
    for n in range(DAYS):
        day = start + timedelta(days=n)
        more_ship, more_skip = changes.get(day, (0, 0))
        ship, skip = ship + more_ship, skip + more_skip
        points.append(Standing(day, ship, skip))
    return trend(points)
