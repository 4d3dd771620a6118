"""The facts of every tool as one list, for programs that quote them: each with an address at which its numbers stay.

A page of it is read past the cards in memory: who walks through all tools takes none of them from the readers.
"""

from datetime import date
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from projections import cards, tools
from projections.cards import Card, PanelVerdict, Pricing
from projections.tally import Community
from projections.tools import Place
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.queries import ListQuery, listed, page_of
from services.web.http.shared import shared
from services.web.page_head import tool_path
from services.web.site import Call

MOST: Final = 100
"""Made in a few milliseconds: readers beside a program that walks through all tools don't notice it."""


class FactsQuery(ListQuery, frozen=True, kw_only=True):
    """The query of the facts."""

    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST


class PanelFacts(msgspec.Struct, frozen=True):
    """The panel's verdict and its counts."""

    verdict: PanelVerdict | None
    ship: int
    skip: int
    ship_percent: int | None


class Facts(msgspec.Struct, frozen=True):
    """What is known of a tool. `position` is that of its last change; `as_of` is the address of its card as it stood then."""

    slug: str
    name: str
    tagline: str
    category: str
    pricing: Pricing
    best_for: str
    url: str | None
    reviewed: date | None
    disclosure: str | None
    successor: str | None
    panel: PanelFacts
    community: Community
    position: int
    page: str
    as_of: str


class FactsPage(msgspec.Struct, frozen=True):
    """A page of tools' facts, by name."""

    items: list[Facts]
    next: str | None


@endpoint("GET", "/tools/facts", takes=FactsQuery, gives=FactsPage, statuses=(200, 304))
async def get_facts(call: Call, query: FactsQuery) -> Answer:
    """List every tool's facts, by name, up to 100 at a time; `next` and the header `Link` lead on.

    To quote a number, quote `as_of`: the address of the tool's card at this very position of the public log.
    """
    read = partial(tools.tools, call.site.reading, "name", None)
    places, more = await page_of(call, "facts", query, Place, read, lambda place: place)
    _, loaded = await cards.load(call.site.reading, [place.slug for place in places])
    found = {one.card.slug: one.card for one in loaded}
    base_url = call.site.settings.base_url
    items = [_facts(base_url, found[place.slug]) for place in places if place.slug in found]
    return listed(call, FactsPage(items, more), more, shared(call, many=True))


def _facts(base_url: str, card: Card) -> Facts:
    panel = card.panel
    return Facts(
        slug=card.slug,
        name=card.name,
        tagline=card.tagline,
        category=card.category,
        pricing=card.pricing,
        best_for=card.best_for,
        url=card.url,
        reviewed=card.reviewed,
        disclosure=card.disclosure,
        successor=card.successor,
        panel=PanelFacts(panel.verdict, panel.ship, panel.skip, panel.ship_percent),
        community=card.community,
        position=card.position,
        page=f"{base_url}{tool_path(card.slug)}",
        as_of=f"{base_url}/v1/tools/{card.slug}?position={card.position}",
    )
