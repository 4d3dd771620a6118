"""Heads of public pages: address, title, description, picture, facts for programs, feeds and the text to share.

Every address is a path here; base.html puts `settings.base_url` before it, never the Host that a request names. What a query
says of one reader's visit (`said`, `after`, `cursor`) is in no address. A page without a head is nobody's business: `noindex`.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from projections.cards import Card, Panel, PanelReview
from projections.tally import Community
from services.web.category_paths import category_path
from services.web.filters import count

LONGEST_DESCRIPTION: Final = 300
"""Characters of a description: more than any search engine or messenger shows."""
_LONGEST_NAME: Final = 60
LEAST_VOTES: Final = 50
"""Votes that a rating takes, beside a settled verdict. Search engines print it as stars with one decimal: of so many votes no
single one moves the five stars by more than a tenth."""
_SCALE: Final = {"worstRating": 0, "bestRating": 100}
_SCHEMA: Final = {"@context": "https://schema.org"}


class Feed(NamedTuple):
    """A feed that readers of a page may follow."""

    title: str
    path: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says of itself to search engines, messengers and programs.

    `image` is the path of a picture, 1200 × 630; `data` are JSON-LD objects; `share_text` is what a reader may copy, and
    `embed_code` the HTML of a badge.
    """

    path: str
    title: str
    description: str
    image: str | None = None
    data: Sequence[Mapping[str, Any]] = ()
    feeds: Sequence[Feed] = ()
    share_text: str = ""
    embed_code: str = ""


def shortened(text: str, most: int) -> str:
    """Return a text in one line, cut at a word with an ellipsis if it is longer than `most` characters."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    cut = line[: most - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut[most // 2 :] else cut).rstrip(" ,;:.") + "…"


def query_path(path: str, **query: str | None) -> str:
    """Return a path with those parameters that are given, percent-encoded."""
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value is not None)
    return f"{path}?{given}" if given else path


def tool_path(slug: str) -> str:
    """Return the path of a tool's page."""
    return f"/tools/{slug}"


def persona_path(persona: str) -> str:
    """Return the path of a persona's page."""
    return f"/reviewers/{quote(persona.lower(), safe='')}"


def panel_sentence(panel: Panel) -> str:
    """Say the panel's verdict: The panel says ship, 3 to 1."""
    if panel.verdict is None:
        return "The panel hasn’t reviewed it yet."
    if panel.verdict == "mixed":
        return f"The panel is split, {panel.ship} to {panel.skip}."
    return f"The panel says {panel.verdict}, {max(panel.ship, panel.skip)} to {min(panel.ship, panel.skip)}."


def community_sentence(tally: Community, *, in_doubt: bool = False) -> str:
    """Say the community's verdict and whether it is settled: The community says ship so far: 67% ship of 30 votes.

    A settled verdict is `in_doubt` while votes that it rests on are under review.
    """
    if not tally.total:
        return "Nobody has voted yet."
    share = f"{tally.ship_percent}% ship of {count(tally.total, 'vote')}"
    verdict = tally.settled or tally.verdict
    if verdict is None:
        return f"The community has yet to decide: {share}."
    says = "is split" if verdict == "mixed" else f"says {verdict}"
    return f"The community {says}{f', {_surety(in_doubt)}' if tally.settled else ' so far'}: {share}."


def _surety(in_doubt: bool) -> str:
    """Say how sure a settled verdict is: nothing that travels calls one settled while votes behind it are under review."""
    return "under review" if in_doubt else "settled"


def verdict_sentence(card: Card) -> str:
    """Say both verdicts on a tool."""
    return f"{panel_sentence(card.panel)} {community_sentence(card.community, in_doubt=bool(card.under_review))}"


def tool_head(base_url: str, card: Card) -> Head:
    """Return the head of a tool's page."""
    path, verdicts = tool_path(card.slug), verdict_sentence(card)
    title = f"{shortened(card.name, _LONGEST_NAME)}: ship or skip?"
    return Head(
        path=path,
        title=title,
        description=shortened(f"{verdicts} {card.tagline}", LONGEST_DESCRIPTION),
        image=_picture(card.slug, card),
        share_text=f"{title} {verdicts} {base_url}{path}",
        embed_code=f'<a href="{base_url}{path}">'
        f'<img src="{base_url}/badge/{card.slug}.svg" alt="{escape(title)}" height="28"></a>',
        data=(
            {**_SCHEMA, **_software(base_url, card)},
            breadcrumbs(base_url, ("Tools", "/tools"), (card.category, category_path(card.category)), (card.name, path)),
        ),
    )


def comparison_head(base_url: str, path: str, left: Card, right: Card) -> Head:
    """Return the head of a comparison's page, whose canonical path is given."""
    title = " vs ".join(shortened(card.name, _LONGEST_NAME) for card in (left, right))
    said = " ".join(f"{shortened(card.name, _LONGEST_NAME)}: {_in_short(card)}." for card in (left, right))
    return Head(
        path=path,
        title=f"{title}: panel and community verdict",
        description=shortened(said, LONGEST_DESCRIPTION),
        image=_picture(path.rpartition("/")[2], left, right),
        share_text=f"{title}: which one ships? {said} {base_url}{path}",
        data=(
            _compared(base_url, path, left, right),
            breadcrumbs(base_url, ("Comparisons", "/comparisons"), (f"{left.name} vs {right.name}", path)),
        ),
    )


def _in_short(card: Card) -> str:
    """Say both verdicts without a sentence each: panel says ship, community 67% ship of 30 votes, settled."""
    panel, tally = card.panel.verdict, card.community
    words = f"panel {f'says {panel}' if panel in ('ship', 'skip') else 'is split' if panel else 'yet to review'}"
    if not tally.total:
        return f"{words}, no votes yet"
    words += f", community {tally.ship_percent}% ship of {count(tally.total, 'vote')}"
    return f"{words}, {_surety(bool(card.under_review))}" if tally.settled else words


def _picture(name: str, *cards: Card) -> str:
    """Return the path of a picture of cards: of their position, unless votes are under review, which no position tells."""
    if any(card.under_review for card in cards):
        return f"/card/{name}.png"
    return f"/card/{name}.png?position={max(card.position for card in cards)}"


def breadcrumbs(base_url: str, *crumbs: tuple[str, str]) -> Mapping[str, Any]:
    """Return in JSON-LD where a page stands: below the first page, each page above it and itself, as (label, path)."""
    items = [
        {"@type": "ListItem", "position": place, "name": label, "item": f"{base_url}{path}"}
        for place, (label, path) in enumerate((("Home", "/"), *crumbs), 1)
    ]
    return {**_SCHEMA, "@type": "BreadcrumbList", "itemListElement": items}


def website(base_url: str, name: str) -> Mapping[str, Any]:
    """Return in JSON-LD what the first page tells of the site."""
    return {**_SCHEMA, "@type": "WebSite", "name": name, "url": f"{base_url}/"}


def _compared(base_url: str, path: str, left: Card, right: Card) -> Mapping[str, Any]:
    """Return what a comparison's page tells programs of its two tools."""
    items = [
        {"@type": "ListItem", "position": place, "item": _software(base_url, card, has_reviews=False)}
        for place, card in enumerate((left, right), 1)
    ]
    return {
        **_SCHEMA,
        "@type": "ItemList",
        "name": f"{left.name} vs {right.name}",
        "url": f"{base_url}{path}",
        "itemListOrder": "https://schema.org/ItemListUnordered",
        "numberOfItems": len(items),
        "itemListElement": items,
    }


def _software(base_url: str, card: Card, *, has_reviews: bool = True) -> Mapping[str, Any]:
    """Return what a page tells programs of a tool; its own page tells the panel's reviews too.

    A rating is the community's, and never made of the panel's scores: each of those is one persona's.
    """
    page, is_free = f"{base_url}{tool_path(card.slug)}", card.pricing.tier == "free"
    found: dict[str, Any] = {
        "@type": "SoftwareApplication",
        "@id": f"{page}#tool",
        "name": card.name,
        "description": card.tagline,
        "applicationCategory": card.category,
        "url": page,
        "image": base_url + _picture(card.slug, card),
        "sameAs": card.url,
        "isAccessibleForFree": True if is_free else None,
        "offers": {"@type": "Offer", "price": 0, "priceCurrency": "USD"} if is_free else None,
        "review": [_review(base_url, page, one, card.reviewed) for one in card.panel.reviews if has_reviews],
        "aggregateRating": _rating(card),
    }
    return {name: value for name, value in found.items() if value not in (None, [], "")}


def _review(base_url: str, page: str, review: PanelReview, day: date | None) -> Mapping[str, Any]:
    """Return a review of the panel. A persona is no person, so its author is an organization of the persona's name."""
    found = {
        "@type": "Review",
        "name": f"{review.persona}: {review.verdict}",
        "url": f"{page}#panel",
        "reviewBody": shortened(review.take, LONGEST_DESCRIPTION),
        "author": {"@type": "Organization", "name": review.persona, "url": f"{base_url}{persona_path(review.persona)}"},
    }
    if review.score is not None:
        found["reviewRating"] = {"@type": "Rating", "ratingValue": review.score, **_SCALE}
    return found if day is None else {**found, "datePublished": day.isoformat()}


def _rating(card: Card) -> Mapping[str, Any] | None:
    """Return the community's rating, the percent that says ship, if it is settled by enough votes and none are in doubt."""
    tally = card.community
    if tally.settled is None or tally.total < LEAST_VOTES or card.under_review:
        return None
    return {"@type": "AggregateRating", "ratingValue": tally.ship_percent, "ratingCount": tally.total, **_SCALE}
