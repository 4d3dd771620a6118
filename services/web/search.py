"""Search: tools by the words of their texts, and categories, personas and a comparison that a text names."""

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from projections import tools
from projections.cards import Card
from projections.search import Found, search
from projections.tools import Category
from services.web.comparisons import AnnouncedPair
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.problems import BadInput
from services.web.http.queries import ListQuery, listed, page_of
from services.web.page_head import Head
from services.web.site import Call
from services.web.tools import read_cards

LONGEST: Final = 500
_MOST_BESIDE: Final = 5
_WORD: Final = re.compile(r"[^\W_]+[+#]*")
_VERSUS: Final = re.compile(r"\s+(?:vs\.?|versus)\s+", re.IGNORECASE)

Text = Annotated[str, Meta(max_length=LONGEST)]
# The document says by a pattern that blanks are no words; we refuse them with a sentence.
Words = Annotated[str, Meta(max_length=LONGEST, extra_json_schema={"minLength": 1, "pattern": r"\S"})]


class SearchQuery(ListQuery, frozen=True, kw_only=True):
    """What to look for."""

    q: Words


class SearchPageQuery(ListQuery, frozen=True, kw_only=True):
    """What to look for; nothing yet on a page that is to be filled in."""

    q: Text = ""


class SearchResults(msgspec.Struct, frozen=True):
    """Tools that a text finds, best first; on the first page also the categories, personas and comparison that it names."""

    items: list[Card]
    next: str | None
    categories: Sequence[Category] = ()
    reviewers: Sequence[str] = ()
    comparisons: Sequence[AnnouncedPair] = ()


async def read_search(call: Call, query: SearchQuery | SearchPageQuery) -> SearchResults:
    """Return a page of what a text finds. Raises BadInput if it is blank."""
    text = query.q.strip()
    if not text:
        raise BadInput.at("/q", "nothing to look for: give a word or more")
    database = call.site.reading
    places, more = await page_of(call, f"search {text}", query, Found, partial(search, database, text), lambda found: found)
    cards = await read_cards(call.site, [place.slug for place in places])
    if query.cursor:
        return SearchResults(cards, more)
    asked = _words(text)
    categories = [one for one in await tools.categories(database) if _is_named(one.name, asked)]
    personas = [one.persona for one in await tools.reviewers(database) if _is_named(one.persona, asked)]
    return SearchResults(cards, more, categories[:_MOST_BESIDE], personas[:_MOST_BESIDE], await _named_comparison(call, text))


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _WORD.findall(plain.casefold())


def _is_named(name: str, asked: Sequence[str]) -> bool:
    """Return whether each word asked for begins a word of a name."""
    words = _words(name)
    return bool(asked) and all(any(word.startswith(one) for word in words) for one in asked)


async def _named_comparison(call: Call, text: str) -> list[AnnouncedPair]:
    """Return the comparison that a text asks for, `one vs another`, of the best tool for either side."""
    sides = _VERSUS.split(text)
    if len(sides) != 2:
        return []
    bests = [await search(call.site.reading, side, None, 1) for side in sides]
    cards = await read_cards(call.site, [found.slug for best in bests for found in best])
    if len(cards) != 2 or cards[0].slug == cards[1].slug:
        return []
    left, right = cards
    return [AnnouncedPair(f"{left.slug}-vs-{right.slug}", f"{left.name} vs {right.name}", left.slug, right.slug)]


@endpoint("GET", "/v1/search", takes=SearchQuery, gives=SearchResults, statuses=(200, 304))
async def get_search(call: Call, query: SearchQuery) -> Answer:
    """Find tools by words of their names, taglines, categories and descriptions, best first.

    A tool has all words, of which the first eight count; the last may be the beginning of one. Names come before taglines,
    these before descriptions, and last words with a slip (a letter missing, doubled or wrong, two swapped). Ties stand by the
    community's order.
    """
    found = await read_search(call, query)
    return listed(call, found, found.next)


@page("/search", SearchPageQuery)
async def search_page(call: Call, query: SearchPageQuery) -> Answer:
    """Show what a text finds, or the form alone."""
    found = await read_search(call, query) if query.q.strip() else None
    head = Head(path="/search", title="Search tools", description="Find a tool by its name, what it does, or its category.")
    return show(call, "search.html", cache=public_page(call, many=True), head=head, q=query.q, found=found)
