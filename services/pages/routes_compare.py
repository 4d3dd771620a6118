"""The first page, and two tools side by side."""

from typing import Final

from msgspec import structs

from projections import lists
from projections.comparison import compare
from services.api.answers import Answer
from services.api.endpoints import Call
from services.api.routes_comparisons import resolve
from services.pages import render
from services.pages.rendering import ANYONES, show
from services.pages.routes import page
from services.pages.shelf import Shelf
from services.pages.shown import Asked, AskedList
from services.pages.visitor import cache_for, own_of

_SHELF: Final = Shelf()
_CONTESTED: Final = 5
_TRENDING: Final = 4


@page("/", AskedList)
async def home(call: Call, asked: AskedList) -> Answer:
    """Show the announced comparisons, newest first, the most contested of them, and what trends."""
    site = call.site
    before = site.cursors.open("comparisons", asked.cursor, int) if asked.cursor else None
    rows = await lists.pairs(site.database, before, asked.limit + 1)
    newest = rows[: asked.limit]
    trending = await lists.tools(site.database, "trending", None, None, _TRENDING)
    contested = await lists.contested(site.database, _CONTESTED)
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


@page("/compare/{pair}", Asked)
async def comparison(call: Call, asked: Asked) -> Answer:
    """Show two tools side by side, announced or not, with the visitor's own votes."""
    left, right = await resolve(call.site, call.path["pair"])
    owns = [own._replace(review=None) for own in await own_of(call, [left.tool, right.tool])]
    ours, theirs = left.card, right.card

    def make() -> bytes:
        return render("compare.html", **structs.asdict(compare(ours, theirs)), owns=owns, word=asked.word)

    return _SHELF.page((left.slug, right.slug, *owns, asked.said), (ours, theirs), make).answer(call, cache_for(call))
