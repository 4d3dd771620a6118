"""Bookmarks: the tools a visitor keeps for later."""

from functools import partial
from typing import Literal

import msgspec

from events.commands.bookmarks import SetBookmark
from projections import bookmarks
from projections.cards import Card
from services.web.flash import FLASHES, Back, ListPageQuery
from services.web.http.answers import Answer
from services.web.http.auth import find_visitor
from services.web.http.bodies import Slug
from services.web.http.call import VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page, show
from services.web.http.queries import ListQuery, listed, page_of
from services.web.site import Call
from services.web.tools import read_cards


class BookmarkForm(msgspec.Struct, frozen=True, kw_only=True):
    """Whether to keep a tool, and the page to return to."""

    keep: Literal["yes", "no"]
    back: Back | None = None


class BookmarkAnswer(msgspec.Struct, frozen=True):
    """Whether the tool is kept now; `position` is that of the bookmark's last event, null if there is none."""

    tool: Slug
    bookmarked: bool
    position: int | None


class BookmarksPage(msgspec.Struct, frozen=True):
    """A page of kept tools."""

    items: list[Card]
    next: str | None


async def read_bookmarks(call: Call, visitor: str, query: ListQuery) -> BookmarksPage:
    """Return a page of the tools that a visitor keeps, newest first."""
    read = partial(bookmarks.bookmarks, call.site.reading, visitor)
    rows, more = await page_of(call, f"bookmarks {visitor}", query, int, read)
    return BookmarksPage(await read_cards(call.site, [row.slug for row in rows]), more)


@endpoint("PUT", "/v1/bookmarks/{tool}", by=VISITOR, gives=BookmarkAnswer)
async def put_bookmark(call: Call) -> BookmarkAnswer:
    """Keep a tool; one that is kept already stays in its place."""
    return await _set(call, keep=True)


@endpoint("DELETE", "/v1/bookmarks/{tool}", by=VISITOR, gives=BookmarkAnswer)
async def delete_bookmark(call: Call) -> BookmarkAnswer:
    """Remove a tool from the bookmarks; 200 as well when it wasn't there."""
    return await _set(call, keep=False)


@endpoint("GET", "/v1/bookmarks", by=VISITOR, takes=ListQuery, gives=BookmarksPage, statuses=(200, 304))
async def get_bookmarks(call: Call, query: ListQuery) -> Answer:
    """List the tools that the visitor keeps, newest first."""
    found = await read_bookmarks(call, call.visitor, query)
    return listed(call, found, found.next, cache=())


@page("/bookmarks", ListPageQuery)
async def bookmarks_page(call: Call, query: ListPageQuery) -> Answer:
    """Show the tools that the visitor keeps, newest first."""
    visitor = find_visitor(call.head, call.site.tokens)
    found = BookmarksPage([], None) if visitor is None else await read_bookmarks(call, visitor, query)
    return show(
        call, "bookmarks.html", is_known=visitor is not None, cards=found.items, next=found.next, word=FLASHES.get(query.said)
    )


@action("/bookmarks/{tool}", BookmarkForm)
async def bookmark_form(call: Call, form: BookmarkForm) -> Answer:
    """Keep a tool, or remove it."""
    answer = await _set(call, keep=form.keep == "yes")
    return back(form.back or "/bookmarks", answer.position, "kept" if answer.bookmarked else "removed")


async def _set(call: Call, *, keep: bool) -> BookmarkAnswer:
    slug = await call.site.cards.present(call.path["tool"])
    receipt = await call.site.committer.submit(SetBookmark(call.visitor, slug, keep, key=call.key))
    return BookmarkAnswer(slug, keep, receipt.position)
