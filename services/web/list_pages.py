"""The panel's reviewers, and a visitor's bookmarks."""

from collections.abc import Sequence
from itertools import groupby

from projections import bookmarks, tools
from projections.tools import PersonaVerdict
from services.web.flash import ListPageQuery
from services.web.http.answers import Answer
from services.web.http.auth import find_visitor
from services.web.http.pages import ANYONES, SECRET, page, show
from services.web.http.problems import NotFound
from services.web.site import Call


@page("/reviewers", ListPageQuery)
async def reviewers(call: Call, asked: ListPageQuery) -> Answer:
    """List the panel."""
    return show(call, "reviewers.html", cache=ANYONES, reviewers=await tools.reviewers(call.site.database))


@page("/reviewers/{persona}", ListPageQuery)
async def reviewer(call: Call, asked: ListPageQuery) -> Answer:
    """Show a persona's verdicts by category, last changed first."""
    site, lower = call.site, call.path["persona"]
    known = next((one for one in await tools.reviewers(site.database) if one.persona.lower() == lower), None)
    if known is None:
        raise NotFound("No reviewer of the panel has this name.")
    name = f"reviewer {lower} {asked.category or ''}"
    before = site.cursors.open(name, asked.cursor, int) if asked.cursor else None
    rows = await tools.verdicts(site.database, lower, asked.category, before, asked.limit + 1)
    return show(
        call,
        "reviewer.html",
        cache=ANYONES,
        reviewer=known,
        category=asked.category,
        groups=_by_category(rows[: asked.limit]),
        next=site.cursors.seal(name, rows[asked.limit - 1].position) if len(rows) > asked.limit else None,
    )


def _by_category(rows: Sequence[PersonaVerdict]) -> list[tuple[str, list[PersonaVerdict]]]:
    """Put verdicts under their categories, each category where its last changed verdict stands."""
    order = {category: at for at, category in reversed(list(enumerate(row.category for row in rows)))}
    ordered = sorted(rows, key=lambda row: order[row.category])
    return [(category, list(group)) for category, group in groupby(ordered, key=lambda row: row.category)]


@page("/bookmarks", ListPageQuery)
async def kept(call: Call, asked: ListPageQuery) -> Answer:
    """Show the tools that the visitor keeps, newest first."""
    site = call.site
    visitor = find_visitor(call.head, site.tokens)
    rows: Sequence[bookmarks.Bookmark] = ()
    if visitor is not None:
        before = site.cursors.open(f"bookmarks {visitor}", asked.cursor, int) if asked.cursor else None
        rows = await bookmarks.bookmarks(site.database, visitor, before, asked.limit + 1)
    shown = rows[: asked.limit]
    found = await site.cards.find([row.slug for row in shown])
    return show(
        call,
        "bookmarks.html",
        cache=SECRET,
        cards=[found[row.slug].card for row in shown if row.slug in found],
        next=site.cursors.seal(f"bookmarks {visitor}", shown[-1].position) if len(rows) > asked.limit else None,
        word=asked.word,
    )
