"""Share cards: a picture of each tool and comparison, as messengers show it; with a position, what the log said there."""

from typing import Final
from urllib.parse import urlsplit

from msgspec import UNSET
from msgspec.structs import replace

from projections.cards import Card, Panel
from projections.comparison import TOO_EARLY, splits
from services.identity import Identity
from services.web.as_of import signed
from services.web.card_cache import CachedCard
from services.web.comparisons import read_comparison
from services.web.faces import Face, Stand, Subject
from services.web.filters import count, hue, initial, verdict
from services.web.http.answers import Answer
from services.web.http.pages import page
from services.web.http.queries import Position, Query
from services.web.past_cards import card_at
from services.web.site import Call

FEW_VOTES: Final = 10
"""Below so many, votes are told one by one; from then on their share, and their number coarsely."""


class CardQuery(Query, frozen=True, kw_only=True):
    """The position of the log that a picture is as of (default: the present)."""

    position: Position | None = None


@page("/card/{card}", CardQuery)  # a picture, so it stands on pages and not in the document of the API
async def share_card(call: Call, query: CardQuery) -> Answer:
    """Draw a tool or a comparison."""
    tools = await _read_tools(call, call.path["card"].removesuffix(".png"))
    cards = [tool.card if query.position is None else await _card_of_the_log(call, tool, query.position) for tool in tools]
    settings = call.site.settings
    picture = await call.site.drawings.picture(face_of(cards, settings.identity, settings.base_url), call.network)
    stands = query.position is not None and query.position <= signed(call)
    versioned = picture.standing if stands else picture.passing
    return versioned.answer(call.head.get(b"if-none-match"))


async def _card_of_the_log(call: Call, tool: CachedCard, position: int) -> Card:
    """Return a card as of a position without what is under review now: the log doesn't say it, and the picture stands."""
    return replace(await card_at(call, tool, position), under_review=UNSET)


async def _read_tools(call: Call, name: str) -> list[CachedCard]:
    """Return the tool of a slug, or the two of `left-vs-right`. Raises ToolNotListed, NotFound."""
    cards = call.site.cards
    if splits(name) and await cards.one(name) is None:
        return list(await read_comparison(call.site, name))
    return [await cards.listed(name)]


def face_of(cards: list[Card], identity: Identity, base_url: str) -> Face:
    """Return all that a picture of these cards shows."""
    return Face(tuple(map(_subject, cards)), identity.site_name, urlsplit(base_url).hostname or "", identity.accent.light)


def _subject(card: Card) -> Subject:
    stands = (panel_stand(card.panel), community_stand(card))
    return Subject(card.slug, card.name, card.category, initial(card.name), hue(card.slug), stands)


def panel_stand(panel: Panel) -> Stand:
    """Return the panel's verdict as it is drawn."""
    if panel.verdict is None:
        return Stand("Panel", None, "No reviews yet", "")
    return Stand("Panel", panel.verdict, verdict(panel.verdict), f"{panel.ship} ship / {panel.skip} skip")


def community_stand(card: Card) -> Stand:
    """Return the community's verdict as it is drawn: whether it is settled, and in how many votes.

    It isn't called settled while votes that it rests on are under review.
    """
    tally = card.community
    if not tally.total:
        return Stand("Community", None, "No votes yet", "")
    word = tally.settled or tally.verdict
    line = f"{tally.ship} of {tally.total} ship"
    if tally.total >= FEW_VOTES:
        line = f"{tally.ship_percent}% ship of {count(coarse(tally.total), 'vote').replace(' ', '+ ')}"
    if word is None:
        return Stand("Community", None, TOO_EARLY, line)
    sure = "so far" if tally.settled is None else "under review" if card.under_review else "settled"
    return Stand(f"Community, {sure}", word, verdict(word), line)


def coarse(number: int) -> int:
    """Return a number rounded down to its first digit, from 100 on to its first two."""
    step: int = 10 ** max(len(str(number)) - 2, 1)
    return number - number % step
