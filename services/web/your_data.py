"""The pages that say what is kept: of readers in general, from the table, and of the visitor whose cookie is sent.

The first is the same for everybody. On the second a visitor takes a copy, or has all erased that it wrote.
"""

from typing import Final, Literal

import msgspec

from services.clock import now
from services.person.copies import copy_visitor
from services.person.kept import COPIES, GROUNDS, WHENS
from services.person.table import kept_here
from services.web.flash import FLASHES, PageQuery
from services.web.http.answers import Answer
from services.web.http.auth import find_visitor
from services.web.http.pages import action, back, page, public_page, show
from services.web.http.queries import Query
from services.web.page_head import Head
from services.web.site import Call

_HEAD: Final = Head(
    path="/your-data",
    title="Your data, and how long it is kept",
    description="What this site keeps when you read, vote, write a review or sign up, and for how long.",
)


class EraseForm(msgspec.Struct, frozen=True, kw_only=True):
    """That the visitor is sure."""

    sure: Literal["yes"]


@page("/your-data", Query)
async def your_data_page(call: Call, query: Query) -> Answer:
    """Say what is kept of readers, where, for how long, why, and how to have it erased."""
    settings = call.site.settings
    return show(
        call,
        "your_data.html",
        cache=public_page(call),
        head=_HEAD,
        kept=kept_here(marks=settings.network_marks, outbox=settings.smtp_url is None),
        whens=WHENS,
        grounds=GROUNDS,
        copies=COPIES,
    )


@page("/your-data/mine", PageQuery)
async def own_data_page(call: Call, query: PageQuery) -> Answer:
    """Show how much is kept of the visitor, with the way to a copy and the button that erases it."""
    visitor, word = find_visitor(call.head, call.site.tokens), FLASHES.get(query.said)
    if visitor is None:
        return show(call, "your_data_mine.html", own=None, word=word, is_erased=False)
    call.add_limits(await call.site.limit_copy(visitor))
    own = await copy_visitor(call.site.sources, visitor, now())
    return show(call, "your_data_mine.html", own=own, word=word, is_erased=call.site.is_erased(visitor))


@action("/your-data/mine/erase", EraseForm)
async def erase_own_data(call: Call, form: EraseForm) -> Answer:
    """Erase what the visitor wrote."""
    receipt = await call.site.erase_visitor(call.visitor)
    return back("/your-data/mine", receipt.position, "erased")
