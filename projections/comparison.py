"""Compare two cards: title, decision table, scorecard. Pure; nothing is stored for a pair."""

from typing import Final

import msgspec

from projections.cards import Card, Panel, PanelReview
from projections.tally import Community, percent

NO_REVIEWS: Final = "No panel reviews yet"
NO_VOTES: Final = "No community votes yet"
TOO_EARLY: Final = "Too early to call"


class Decision(msgspec.Struct, frozen=True):
    """One row of the decision table."""

    label: str
    left: str
    right: str


class Judgement(msgspec.Struct, frozen=True):
    """One side of a scorecard row."""

    score: int | None
    verdict: str
    take: str


class Score(msgspec.Struct, frozen=True):
    """A persona's judgements of both tools; None is "no panel take"."""

    persona: str
    left: Judgement | None
    right: Judgement | None


class Comparison(msgspec.Struct, frozen=True):
    """Two tools side by side."""

    slug: str
    title: str
    left: Card
    right: Card
    decision: tuple[Decision, ...]
    scorecard: tuple[Score, ...]


def panel_line(ship: int, skip: int) -> str:
    """Return the panel's verdict in a line: `Ship · 3 ship / 1 skip`."""
    if not ship + skip:
        return NO_REVIEWS
    verdict = "Ship" if ship > skip else "Skip" if ship < skip else "Mixed"
    return f"{verdict} · {ship} ship / {skip} skip"


def community_line(ship: int, skip: int) -> str:
    """Return the community's tally in a line: `67% ship · 2 ship / 1 skip`."""
    if not ship + skip:
        return NO_VOTES
    return f"{percent(ship, ship + skip)}% ship · {ship} ship / {skip} skip"


def verdict_line(tally: Community) -> str:
    """Return the community's verdict and whether it holds: `Ship, settled`, `Ship, so far`; nothing without votes."""
    if not tally.total:
        return ""
    if tally.settled:
        return f"{tally.settled.capitalize()}, settled"
    return f"{tally.verdict.capitalize()}, so far" if tally.verdict else TOO_EARLY


def _panel_line(card: Card) -> str:
    return panel_line(card.panel.ship, card.panel.skip)


def _community_line(card: Card) -> str:
    return community_line(card.community.ship, card.community.skip)


def _judgement(review: PanelReview | None) -> Judgement | None:
    return None if review is None else Judgement(review.score, review.verdict, review.take)


def scorecard(left: Panel, right: Panel) -> tuple[Score, ...]:
    """Pair the judgements by persona: in the left panel's order, then personas of the right panel alone."""
    lefts = {review.persona: review for review in left.reviews}
    rights = {review.persona: review for review in right.reviews}
    return tuple(
        Score(persona, _judgement(lefts.get(persona)), _judgement(rights.get(persona)))
        for persona in dict.fromkeys((*lefts, *rights))
    )


def compare(left: Card, right: Card) -> Comparison:
    """Return the comparison of two cards."""
    return Comparison(
        slug=f"{left.slug}-vs-{right.slug}",
        title=f"{left.name} vs {right.name}",
        left=left,
        right=right,
        decision=(
            Decision("Panel verdict", _panel_line(left), _panel_line(right)),
            Decision("Community", _community_line(left), _community_line(right)),
            Decision("Pricing", left.pricing.label, right.pricing.label),
            Decision("Best for", left.best_for, right.best_for),
            Decision("Category", left.category, right.category),
        ),
        scorecard=scorecard(left.panel, right.panel),
    )


def splits(pair: str) -> list[tuple[str, str]]:
    """Return every way to split `left-vs-right`, shortest left first; a slug may itself contain `-vs-`."""
    found, at = [], pair.find("-vs-")
    while at >= 0:
        if at and at + 4 < len(pair):
            found.append((pair[:at], pair[at + 4 :]))
        at = pair.find("-vs-", at + 1)
    return found
