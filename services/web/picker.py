"""The picker: two tools by slug or by words, led to their comparison; what words find is offered where it isn't one tool."""

from typing import Final

import msgspec

from projections.cards import Card
from projections.search import search
from services.web.http.answers import Answer, redirect
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query
from services.web.page_head import Head
from services.web.search import Text
from services.web.site import Call
from services.web.tools import read_cards

_CHOICES: Final = 8


class PickQuery(Query, frozen=True, kw_only=True):
    """Two tools, each by its slug or by words of its name."""

    left: Text = ""
    right: Text = ""


class Side(msgspec.Struct, frozen=True):
    """What was asked for on one side: the tool if it is one, else those that may be meant."""

    name: str
    text: str
    tool: Card | None
    choices: list[Card]


async def read_side(call: Call, name: str, text: str) -> Side:
    """Return the tool of a slug, of now or of before, or of a name; else tools that a text finds."""
    text = text.strip()
    if not text:
        return Side(name, text, None, [])
    if known := (await call.site.cards.find_any([text])).get(text):
        return Side(name, text, known.card, [])
    found = await read_cards(call.site, [one.slug for one in await search(call.site.reading, text, None, _CHOICES)])
    exact = [card for card in found if card.name.casefold() == text.casefold()]
    return Side(name, text, exact[0] if len(exact) == 1 else None, found)


@page("/compare", PickQuery)
async def picker_page(call: Call, query: PickQuery) -> Answer:
    """Lead to the comparison of two tools, or help to name them."""
    left, right = [await read_side(call, name, text) for name, text in (("left", query.left), ("right", query.right))]
    if left.tool is not None and right.tool is not None and left.tool.slug != right.tool.slug:
        return redirect(f"/compare/{left.tool.slug}-vs-{right.tool.slug}")
    head = Head(path="/compare", title="Compare two AI tools", description="Pick any two tools and see them side by side.")
    is_same = left.tool is not None and right.tool is not None
    return show(call, "picker.html", cache=public_page(call, many=True), head=head, sides=(left, right), is_same=is_same)
