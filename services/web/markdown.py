"""Tools, comparisons and personas as markdown (CommonMark), for programs that read pages.

Whatever a name or text says, it stays text: it makes no heading, link, picture, list or markup, and takes no line of its own.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from projections.cards import Card, Panel
from projections.comparison import NO_REVIEWS, Judgement, community_line, compare, panel_line, verdict_line
from projections.tools import PersonaVerdict, Reviewer
from services.web.filters import count
from services.web.http.answers import Answer, Content
from services.web.http.negotiation import asks_for
from services.web.http.shared import shared
from services.web.page_head import persona_path, tool_path
from services.web.site import Call

MEDIA: Final = b"text/markdown; charset=utf-8; variant=CommonMark"  # RFC 7763, RFC 7764

VARIES: Final = (b"vary", b"Accept, Accept-Encoding")

# What begins markup anywhere in a line; and what programs beyond CommonMark make links of: addresses of sites and mailboxes.
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>&~|#]|:(?=//)|(?<=www)\.|@", re.IGNORECASE)
# What begins a list, a rule or an underline at the start of a line.
_BEGINNING: Final = re.compile(r"[+=\-]|[0-9]{1,9}(?=[.)])")
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
_SITE: Final = re.compile(r"https?://[A-Za-z0-9\-._~:/?#@!$'()*+,;=%]+")


def plain(text: str) -> str:
    """Return a text as markdown that shows it and does nothing else, in one line."""
    # What isn't seen goes before the spaces are counted: between two of them it left both, and four make a block of code.
    seen = _UNSEEN.sub("", " ".join(text.split()))
    line = _MARKUP.sub(r"\\\g<0>", " ".join(seen.split()))
    if begins := _BEGINNING.match(line):
        at = begins.end() if begins[0].isdigit() else 0
        return f"{line[:at]}\\{line[at:]}"
    return line


def link(text: str, address: str) -> str:
    """Return a link of a text to an address of ours."""
    return f"[{plain(text)}]({address})"


def wants_markdown(call: Call) -> bool:
    """Tell whether a caller asks for markdown rather than for a page."""
    return asks_for("text/markdown", call.head.get(b"accept"))


def tool_text(base_url: str, card: Card) -> str:
    """Return a tool's card as markdown, with the address at which these numbers stay."""
    page = f"{base_url}{tool_path(card.slug)}"
    return _joined(
        f"# {plain(card.name)}",
        f"> {plain(card.tagline)}",
        "\n".join(_facts(base_url, card)),
        plain(card.description),
        f"## Panel: {plain(_panel(card.panel))}",
        *_takes(card.panel),
        f"## Community: {plain(_community(card))}",
        *_sureness(card),
        "## Addresses",
        f"- Page: <{page}>\n"
        f"- These numbers, for ever: <{page}?position={card.position}>\n"
        f"- As JSON: <{base_url}/v1/tools/{card.slug}?position={card.position}>\n"
        f"- Recount them from the public log, up to entry {card.position}: <{base_url}/proof>",
    )


def comparison_text(base_url: str, left: Card, right: Card) -> str:
    """Return two tools side by side as markdown."""
    compared = compare(left, right)
    rows = [f"| | {plain(left.name)} | {plain(right.name)} |", "| --- | --- | --- |"]
    rows += [f"| {row.label} | {plain(row.left)} | {plain(row.right)} |" for row in compared.decision]
    rows += [
        f"| {plain(row.persona)} | {_score(row.left)} | {_score(row.right)} |" for row in compared.scorecard
    ]  # fmt: skip
    position = max(left.position, right.position)
    page = f"{base_url}/compare/{compared.slug}"
    return _joined(
        f"# {plain(compared.title)}",
        "\n".join(rows),
        *(part for card in (left, right) for part in _side(base_url, card)),
        "## Addresses",
        f"- Page: <{page}>\n"
        f"- These numbers, for ever, as JSON: <{base_url}/v1/comparisons/{compared.slug}?position={position}>",
    )


def persona_text(base_url: str, reviewer: Reviewer, verdicts: Sequence[PersonaVerdict], following: str | None) -> str:
    """Return a persona and a page of its verdicts as markdown; `following` is the path of the next page."""
    page, role = f"{base_url}{persona_path(reviewer.persona)}", reviewer.role or "A reviewer of the panel"
    lines = [
        f"- {link(one.name, base_url + tool_path(one.tool))} ({plain(one.category)}): {_verdict(one.verdict, one.score)}. "
        f"{plain(one.take)}"
        for one in verdicts
    ]
    return _joined(
        f"# {plain(reviewer.persona)}",
        f"> {plain(role)}: {count(reviewer.reviewed, 'tool')}, {reviewer.shipped} shipped.",
        plain(reviewer.phrase or ""),
        plain(reviewer.profile or ""),
        _list("Gets excited about", reviewer.excited_by),
        _list("Tired of", reviewer.tired_of),
        "## Verdicts",
        "\n".join(lines) or "No verdicts here.",
        f"- Page: <{page}>" + (f"\n- More verdicts: <{base_url}{following}>" if following else ""),
    )


def markdown_answer(call: Call, text: str, *tools: str, many: bool = False) -> Answer:
    """Answer with markdown that shows these tools, by their slugs, or many; shared caches keep it beside the page."""
    return Content(text.encode("utf-8"), MEDIA).answer(call.head, shared(call, *tools, many=many, vary=(b"Accept",)))


def _joined(*parts: str) -> str:
    """Join blocks by blank lines; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"


def _list(heading: str, items: Sequence[str]) -> str:
    return "\n".join([f"## {heading}", "", *(f"- {plain(item)}" for item in items)]) if items else ""


def _facts(base_url: str, card: Card) -> Iterator[str]:
    yield f"- Category: {plain(card.category)}"
    yield f"- Pricing: {plain(card.pricing.label)} ({card.pricing.tier})"
    yield f"- Best for: {plain(card.best_for)}"
    if card.url:
        yield f"- Website: {f'<{card.url}>' if _SITE.fullmatch(card.url) else plain(card.url)}"
    if card.reviewed:
        yield f"- Reviewed: {card.reviewed.isoformat()}"
    if card.disclosure:
        yield f"- Disclosure: {plain(card.disclosure)}"
    if card.successor:
        yield f"- Succeeded by: <{base_url}{tool_path(card.successor)}>"


def _panel(panel: Panel) -> str:
    return panel_line(panel.ship, panel.skip) if panel.reviews else NO_REVIEWS


def _takes(panel: Panel) -> Iterator[str]:
    for review in panel.reviews:
        yield f"### {plain(review.persona)}: {_verdict(review.verdict, review.score)}\n\n{plain(review.take)}"


def _community(card: Card) -> str:
    line = community_line(card.community.ship, card.community.skip)
    word = verdict_line(card.community)
    return f"{word} · {line}" if word else line


def _sureness(card: Card) -> Iterator[str]:
    tally = card.community
    if tally.interval is None:
        return
    lines = [f"- 95% Wilson interval, for a single look: {tally.interval[0]}–{tally.interval[1]}% ship"]
    if tally.settled_interval is not None:
        low, high = tally.settled_interval
        lines.append(f"- Settled interval, however often you look: {low}–{high}% ship")
    if tally.flips_to_change is not None:
        lines.append(f"- Voters who would have to change sides to turn it: {tally.flips_to_change}")
    yield "\n".join(lines)


def _side(base_url: str, card: Card) -> Iterator[str]:
    yield f"## {link(card.name, base_url + tool_path(card.slug))}"
    yield plain(card.tagline)
    yield from _takes(card.panel)


def _verdict(verdict: str, score: int | None) -> str:
    return verdict if score is None else f"{verdict}, {score} of 100"


def _score(judgement: Judgement | None) -> str:
    return "no panel take" if judgement is None else _verdict(judgement.verdict, judgement.score)
