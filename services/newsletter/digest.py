"""An issue's facts as its templates want them: addresses on the site, lines of words, the few that are worth a mail."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from projections.tally import community, percent
from services.newsletter.facts import Content, Tally, ToolFact
from services.settings import Settings

MOST: Final[Mapping[str, int]] = {"new_comparisons": 8, "new_tools": 8, "movers": 5, "closest": 3, "disagreements": 3}
TAKEN_BACK: Final = "Its author took this review back."


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What an issue is, beside what it says."""

    number: int
    edition: str
    period_from: datetime
    period_to: datetime


class ReviewText(msgspec.Struct, frozen=True):
    """A reader's review, opened for rendering."""

    verdict: str
    score: int | None
    text: str
    name: str | None


def digest_values(
    heading: Heading, content: Content, categories: Collection[str], review: ReviewText | None, base_url: str
) -> dict[str, Any]:
    """Give the values that all readers of these categories share; `review` is the text of the first of its reviews."""
    own = content.within(categories)
    return {
        "number": heading.number,
        "edition": heading.edition,
        "period": {"from": heading.period_from.date().isoformat(), "to": heading.period_to.date().isoformat()},
        "quiet": own.is_quiet,
        "new_comparisons": [
            {"title": pair.title, "url": f"{base_url}/compare/{pair.slug}"}
            for pair in own.new_comparisons[: MOST["new_comparisons"]]
        ],
        "new_tools": [
            {**_named(tool, base_url), "tagline": tool.tagline, "panel_line": panel_line(tool.panel)}
            for tool in own.new_tools[: MOST["new_tools"]]
        ],
        "movers": [_mover(tool, base_url) for tool in own.movers[: MOST["movers"]]],
        "closest": [_close(tool, base_url) for tool in own.closest[: MOST["closest"]]],
        "disagreements": [
            {
                **_named(tool, base_url),
                "panel_line": panel_line(tool.panel),
                "community_line": community_line(tool.community),
            }
            for tool in own.disagreements[: MOST["disagreements"]]
        ],
        "best_review": _review(own, review, base_url),
        "archive_url": f"{base_url}/issues/{heading.number}",
    }


def mail_values(
    heading: Heading, content: Content, categories: Collection[str], review: ReviewText | None, settings: Settings
) -> dict[str, Any]:
    """Give the same for a mail, whose footer says who sends it and from where."""
    values = digest_values(heading, content, categories, review, settings.base_url)
    return {**values, "postal_address": settings.newsletter.postal_address}


def bookmarked(content: Content, tools: Collection[str], base_url: str) -> list[dict[str, str]]:
    """Give what changed on the tools a reader bookmarked."""
    return [{**_named(tool, base_url), "line": change_line(tool)} for tool in content.changes if tool.tool in tools]


def panel_line(panel: Tally) -> str:
    """Say what the panel says."""
    ship, skip = panel
    if not ship + skip:
        return "No panel reviews yet"
    verdict = "Ship" if ship > skip else "Skip" if ship < skip else "Mixed"
    return f"{verdict} · {ship} ship / {skip} skip"


def community_line(tally: Tally) -> str:
    """Say what the community says."""
    if not sum(tally):
        return "No community votes yet"
    return f"{percent(tally[0], sum(tally))}% ship · {tally[0]} ship / {tally[1]} skip"


def change_line(tool: ToolFact) -> str:
    """Say what happened to a tool in the period."""
    said = []
    if tool.panel_spoke:
        said.append(f"the panel spoke: {panel_line(tool.panel)}")
    if tool.votes:
        before, after = percent(tool.before[0], sum(tool.before)), percent(tool.community[0], sum(tool.community))
        moved = f"{before}% ship before, {after}% now" if None not in (before, after) else community_line(tool.community)
        said.append(f"{moved} ({tool.votes} {'vote' if tool.votes == 1 else 'votes'})")
    return "; ".join(said)


def _named(tool: ToolFact, base_url: str) -> dict[str, str]:
    return {"name": tool.name, "url": f"{base_url}/tools/{tool.slug}"}


def _mover(tool: ToolFact, base_url: str) -> dict[str, object]:
    return {
        **_named(tool, base_url),
        "before_percent": percent(tool.before[0], sum(tool.before)),
        "after_percent": percent(tool.community[0], sum(tool.community)),
        "votes": tool.votes,
    }


def _close(tool: ToolFact, base_url: str) -> dict[str, object]:
    tally = community(*tool.community)
    return {
        **_named(tool, base_url),
        "ship_percent": tally.ship_percent,
        "total": tally.total,
        "interval": list(tally.interval or ()),
    }


def _review(own: Content, review: ReviewText | None, base_url: str) -> dict[str, object] | None:
    if not own.reviews:
        return None
    about = own.reviews[0]
    said = review or ReviewText("withdrawn", None, TAKEN_BACK, None)
    return {
        "tool_name": about.name,
        "url": f"{base_url}/tools/{about.slug}",
        "verdict": said.verdict,
        "score": said.score,
        "text": said.text,
        "display_name": said.name,
    }
