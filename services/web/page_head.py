"""Heads of public pages: address, title, description, picture, facts for programs, feeds and the text to share.

Every address is a path here; base.html puts `settings.base_url` before it, never the Host that a request names. What a query
says of one reader's visit (`said`, `after`, `cursor`) is in no address. A page without a head is nobody's business: `noindex`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from projections.cards import Card, Panel
from projections.tally import Community
from services.web.filters import count

LONGEST_DESCRIPTION: Final = 300
"""Characters of a description: more than any search engine or messenger shows."""
_LONGEST_NAME: Final = 60


class Feed(NamedTuple):
    """A feed that readers of a page may follow."""

    title: str
    path: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says of itself to search engines, messengers and programs.

    `image` is the path of a picture, 1200 × 630; `data` are JSON-LD objects; `share_text` is what a reader may copy.
    """

    path: str
    title: str
    description: str
    image: str | None = None
    data: Sequence[Mapping[str, Any]] = ()
    feeds: Sequence[Feed] = ()
    share_text: str = ""


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


def community_sentence(tally: Community) -> str:
    """Say the community's verdict and whether it is settled: The community says ship so far: 67% ship of 30 votes."""
    if not tally.total:
        return "Nobody has voted yet."
    share = f"{tally.ship_percent}% ship of {count(tally.total, 'vote')}"
    verdict = tally.settled or tally.verdict
    if verdict is None:
        return f"The community has yet to decide: {share}."
    says = "is split" if verdict == "mixed" else f"says {verdict}"
    return f"The community {says}{', settled' if tally.settled else ' so far'}: {share}."


def verdict_sentence(card: Card) -> str:
    """Say both verdicts on a tool."""
    return f"{panel_sentence(card.panel)} {community_sentence(card.community)}"


def tool_head(base_url: str, card: Card) -> Head:
    """Return the head of a tool's page."""
    path, verdicts = tool_path(card.slug), verdict_sentence(card)
    return Head(
        path=path,
        title=f"{shortened(card.name, _LONGEST_NAME)}: ship or skip?",
        description=shortened(f"{verdicts} {card.tagline}", LONGEST_DESCRIPTION),
        image=f"/card/{card.slug}.png?position={card.position}",
        share_text=f"{shortened(card.name, _LONGEST_NAME)}: ship or skip? {verdicts} {base_url}{path}",
    )


def comparison_head(base_url: str, path: str, left: Card, right: Card) -> Head:
    """Return the head of a comparison's page, whose canonical path is given."""
    title = " vs ".join(shortened(card.name, _LONGEST_NAME) for card in (left, right))
    said = " ".join(f"{shortened(card.name, _LONGEST_NAME)}: {_in_short(card)}." for card in (left, right))
    return Head(
        path=path,
        title=f"{title}: panel and community verdict",
        description=shortened(said, LONGEST_DESCRIPTION),
        image=f"/card/{path.rpartition('/')[2]}.png?position={max(left.position, right.position)}",
        share_text=f"{title}: which one ships? {said} {base_url}{path}",
    )


def _in_short(card: Card) -> str:
    """Say both verdicts without a sentence each: panel says ship, community 67% ship of 30 votes, settled."""
    panel, tally = card.panel.verdict, card.community
    words = f"panel {f'says {panel}' if panel in ('ship', 'skip') else 'is split' if panel else 'yet to review'}"
    if not tally.total:
        return f"{words}, no votes yet"
    words += f", community {tally.ship_percent}% ship of {count(tally.total, 'vote')}"
    return f"{words}, settled" if tally.settled else words
