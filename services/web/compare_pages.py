"""The first page, and two tools side by side."""

from typing import Final

from msgspec import structs

from projections import tools
from projections.comparison import compare
from services.web.comparisons import resolve
from services.web.flash import ListPageQuery, PageQuery
from services.web.http.answers import Answer
from services.web.http.pages import ANYONES, page, render, show
from services.web.own import cache_for, own_of
from services.web.page_cache import PageCache
from services.web.site import Call

_SHELF: Final = PageCache()
_CONTESTED: Final = 5
_TRENDING: Final = 4


@page("/", ListPageQuery)
async def home(call: Call, asked: ListPageQuery) -> Answer:
    """Show the announced comparisons, newest first, the most contested of them, and what trends."""
    site = call.site
    before = site.cursors.open("comparisons", asked.cursor, int) if asked.cursor else None
    rows = await tools.pairs(site.database, before, asked.limit + 1)
    newest = rows[: asked.limit]
    trending = await tools.tools(site.database, "trending", None, None, _TRENDING)
    contested = await tools.contested(site.database, _CONTESTED)
    slugs = {slug for pair in (*newest, *contested) for slug in (pair.left, pair.right)}
    found = await site.cards.find([*slugs.union(place.slug for place in trending)])
    return show(
        call,
        "home.html",
        cache=ANYONES,
        newest=newest,
        next=site.cursors.seal("comparisons", newest[-1].position) if len(rows) > asked.limit else None,
        contested=contested,
        tallies={slug: found[slug].card.community for slug in slugs if slug in found},
        trending=[found[place.slug].card for place in trending if place.slug in found],
    )


@page("/compare/{pair}", PageQuery)
async def comparison(call: Call, asked: PageQuery) -> Answer:
    """Show two tools side by side, announced or not, with the visitor's own votes."""
    left, right = await resolve(call.site, call.path["pair"])
    owns = [own._replace(review=None) for own in await own_of(call, [left.tool, right.tool])]
    ours, theirs = left.card, right.card

    def make() -> bytes:
        return render("compare.html", **structs.asdict(compare(ours, theirs)), owns=owns, word=asked.word)

    return _SHELF.page((left.slug, right.slug, *owns, asked.said), (ours, theirs), make).answer(call.head, cache_for(call))
