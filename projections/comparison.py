"""A comparison of two cards: title, decision table, scorecard. Pure; nothing is stored for a pair."""

import msgspec

from projections.cards import Card, Panel, PanelReview
from projections.tally import Community


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
    """What a persona says of both tools; None is "no panel take"."""

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


def _panel_line(panel: Panel) -> str:
    if panel.verdict is None:
        return "No panel reviews yet"
    return f"{panel.verdict.capitalize()} · {panel.ship} ship / {panel.skip} skip"


def _community_line(tally: Community) -> str:
    if not tally.total:
        return "No community votes yet"
    return f"{tally.ship_percent}% ship · {tally.ship} ship / {tally.skip} skip"


def _judgement(review: PanelReview | None) -> Judgement | None:
    return None if review is None else Judgement(review.score, review.verdict, review.take)


def scorecard(left: Panel, right: Panel) -> tuple[Score, ...]:
    """Pair the panels by persona: in the left's order, then those that only the right has."""
    lefts = {review.persona: review for review in left.reviews}
    rights = {review.persona: review for review in right.reviews}
    return tuple(
        Score(persona, _judgement(lefts.get(persona)), _judgement(rights.get(persona)))
        for persona in dict.fromkeys((*lefts, *rights))
    )


def compare(left: Card, right: Card) -> Comparison:
    """Put two cards side by side."""
    return Comparison(
        slug=f"{left.slug}-vs-{right.slug}",
        title=f"{left.name} vs {right.name}",
        left=left,
        right=right,
        decision=(
            Decision("Panel verdict", _panel_line(left.panel), _panel_line(right.panel)),
            Decision("Community", _community_line(left.community), _community_line(right.community)),
            Decision("Pricing", left.pricing.label, right.pricing.label),
            Decision("Best for", left.best_for, right.best_for),
            Decision("Category", left.category, right.category),
        ),
        scorecard=scorecard(left.panel, right.panel),
    )


def splits(pair: str) -> list[tuple[str, str]]:
    """Give every way to read `left-vs-right`, shortest left first; a slug may itself hold `-vs-`."""
    found, at = [], pair.find("-vs-")
    while at >= 0:
        if at and at + 4 < len(pair):
            found.append((pair[:at], pair[at + 4 :]))
        at = pair.find("-vs-", at + 1)
    return found
