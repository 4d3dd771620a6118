"""Bookmarks: the tools a visitor keeps for later."""

import msgspec

from events.commands.bookmarks import SetBookmark
from projections import bookmarks
from projections.cards import Card
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.call import VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.queries import ListQuery, listed
from services.web.site import Call


class BookmarkAnswer(msgspec.Struct, frozen=True):
    """Whether the tool is kept now; `position` is that of the bookmark's last event, null if there is none."""

    tool: Slug
    bookmarked: bool
    position: int | None


class BookmarksPage(msgspec.Struct, frozen=True):
    """A page of kept tools."""

    items: list[Card]
    next: str | None


@endpoint("PUT", "/v1/bookmarks/{tool}", by=VISITOR, gives=BookmarkAnswer, problems=(403, 404, 422, 503))
async def keep(call: Call) -> BookmarkAnswer:
    """Keep a tool; one that is kept already stays in its place."""
    return await _set(call, keep=True)


@endpoint("DELETE", "/v1/bookmarks/{tool}", by=VISITOR, gives=BookmarkAnswer, problems=(403, 404, 422, 503))
async def remove(call: Call) -> BookmarkAnswer:
    """Let a tool go; 200 as well when it wasn't kept."""
    return await _set(call, keep=False)


@endpoint("GET", "/v1/bookmarks", by=VISITOR, takes=ListQuery, gives=BookmarksPage, statuses=(200, 304), problems=(503,))
async def own(call: Call, page: ListQuery) -> Answer:
    """List the tools that the visitor keeps, newest first."""
    await call.site.reach(page.after)
    name = f"bookmarks {call.visitor}"
    before = call.site.cursors.open(name, page.cursor, int) if page.cursor else None
    rows = await bookmarks.bookmarks(call.site.database, call.visitor, before, page.limit + 1)
    shown = rows[: page.limit]
    found = await call.site.cards.find([row.slug for row in shown])
    more = call.site.cursors.seal(name, shown[-1].position) if len(rows) > page.limit else None
    items = [found[row.slug].card for row in shown if row.slug in found]
    return listed(call, BookmarksPage(items, more), more, cache=())


async def _set(call: Call, *, keep: bool) -> BookmarkAnswer:
    slug = call.path["tool"]
    receipt = await call.site.committer.submit(SetBookmark(call.visitor, slug, keep, call.key))
    return BookmarkAnswer(slug, keep, receipt.position)
