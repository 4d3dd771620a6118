"""Comparisons: any two listed tools side by side, and the list of announced pairs."""

import msgspec

from projections import tools
from projections.comparison import Comparison, splits
from services.web.card_cache import CachedCard
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, Query, listed
from services.web.site import Call, Site


class Announced(msgspec.Struct, frozen=True):
    """A pair on the list of comparisons."""

    slug: str
    title: str
    left: Slug
    right: Slug


class AnnouncedPage(msgspec.Struct, frozen=True):
    """A page of announced pairs, newest first."""

    items: list[Announced]
    next: str | None


@endpoint("GET", "/v1/comparisons", takes=ListQuery, gives=AnnouncedPage, statuses=(200, 304), problems=(503,))
async def announced(call: Call, page: ListQuery) -> Answer:
    """List the announced pairs, newest first."""
    await call.site.reach(page.after)
    before = call.site.cursors.open("comparisons", page.cursor, int) if page.cursor else None
    rows = await tools.pairs(call.site.database, before, page.limit + 1)
    items = [
        Announced(f"{r.left}-vs-{r.right}", f"{r.left_name} vs {r.right_name}", r.left, r.right) for r in rows[: page.limit]
    ]
    more = call.site.cursors.seal("comparisons", rows[page.limit - 1].position) if len(rows) > page.limit else None
    return listed(call, AnnouncedPage(items, more), more)


@endpoint("GET", "/v1/comparisons/{pair}", takes=Query, gives=Comparison, statuses=(200, 304), problems=(404, 503))
async def comparison(call: Call, query: Query) -> Answer:
    """Put two listed tools side by side, announced or not."""
    if query.after is not None:
        await call.site.reach(query.after)
    pair, cards = call.path["pair"], call.site.cards
    versioned = cards.known_comparison(pair)
    if versioned is None:
        left, right = await resolve(call.site, pair)
        versioned = cards.comparison(left, right, pair if len(splits(pair)) == 1 else None)
    return versioned.answer(call.head.get(b"if-none-match"))


async def resolve(site: Site, pair: str) -> tuple[CachedCard, CachedCard]:
    """Find the two tools: an announced pair wins where a slug itself holds `-vs-`, else the shortest left slug; NotFound."""
    ways = splits(pair)
    found = await site.cards.find([slug for way in ways for slug in way])
    open_ways = [(found[a], found[b]) for a, b in ways if a in found and b in found and a != b]
    if not open_ways:
        raise NotFound("No two different listed tools have these slugs.")
    if len(open_ways) > 1:
        known = await tools.announced(site.database, [(a.tool, b.tool) for a, b in open_ways])
        open_ways.sort(key=lambda way: (way[0].tool, way[1].tool) not in known)  # stable: shortest left first among equals
    return open_ways[0]
