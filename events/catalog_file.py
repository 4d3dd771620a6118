"""The catalog file: its shape, its faults, and the events that make the catalog match it.

Tools that the file leaves out stay as they are. A faulty file is refused with every fault, each at its JSON pointer.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events.catalog import (
    ComparisonAnnounced,
    Description,
    Listing,
    PanelReviewPublished,
    PanelReviewRevised,
    Tier,
    Tool,
    ToolAdded,
    ToolDescribed,
    ToolEvent,
    ToolListed,
    ToolUnlisted,
    Verdict,
)
from events.log.ids import SLUG

Slug = Annotated[str, Meta(pattern=SLUG, max_length=120)]
Label = Annotated[str, Meta(min_length=1, max_length=200)]
Persona = Annotated[str, Meta(min_length=1, max_length=60)]
Line = Annotated[str, Meta(max_length=500)]
Prose = Annotated[str, Meta(max_length=10_000)]
# `$` alone would let a newline follow.
Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#]+[^\s]*$(?!\n)", max_length=2_000)]
Score = Annotated[int, Meta(ge=0, le=100)]

Fault = tuple[str, str]
"""A JSON pointer (RFC 6901) and a sentence."""


class CatalogPricing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool's price."""

    tier: Tier
    label: Line


class CatalogReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A panel persona's review of a tool."""

    persona: Persona
    score: Score | None = None
    verdict: Verdict
    take: Prose


class CatalogTool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool. If left out, `url` and `listed` keep their values; a new tool then has no URL and is listed."""

    slug: Slug
    name: Label
    tagline: Line
    description: Prose
    category: Label
    pricing: CatalogPricing
    best_for: Line
    url: Url | UnsetType | None = UNSET
    listed: bool | UnsetType = UNSET
    panel: list[CatalogReview] = []


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An announced comparison of two tools, by slug."""

    left: Slug
    right: Slug


class CatalogFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A catalog as the operator writes it."""

    tools: list[CatalogTool]
    comparisons: list[Pair] = []


class CatalogInvalid(Exception):
    """The file is faulty; `faults` holds everything that was found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{pointer}: {sentence}" for pointer, sentence in faults))
        self.faults = list(faults)


def check(file: CatalogFile) -> list[Fault]:
    """Return the faults of a file on its own: bad texts, and duplicates."""
    return [*_bad_texts("", msgspec.to_builtins(file)), *_twice_in(file)]


def check_pairs(file: CatalogFile, listing: Listing) -> list[Fault]:
    """Return a fault for each compared slug that is neither in the file nor in the log."""
    named = {tool.slug for tool in file.tools}
    return [
        (f"/comparisons/{n}/{side}", f"There is no tool {slug!r}, neither here nor in the catalog.")
        for n, pair in enumerate(file.comparisons)
        for side, slug in (("left", pair.left), ("right", pair.right))
        if slug not in named and listing.find(slug) is None
    ]


def most_events(file: CatalogFile) -> int:
    """Return how many events a file can come to at most."""
    return sum(2 + len(tool.panel) for tool in file.tools) + len(file.comparisons)


def slugs_in(file: CatalogFile) -> set[str]:
    """Return every slug that a file names."""
    return {tool.slug for tool in file.tools} | {slug for pair in file.comparisons for slug in (pair.left, pair.right)}


def _bad_texts(pointer: str, value: Any) -> Iterator[Fault]:
    match value:
        case str():
            if fault := _bad_text(pointer.rpartition("/")[2], value):
                yield pointer, fault
        case dict() | list():
            for step, member in value.items() if isinstance(value, dict) else enumerate(value):
                yield from _bad_texts(f"{pointer}/{step}", member)


_SPACED_OR_SLASHED = re.compile(r"\s.*|.*\s|.*[/\n\t].*|\.{1,2}", re.S)


def _bad_text(field: str, text: str) -> str | None:
    """Return the fault of a text: control characters, or more than one line in a name that titles and URLs show."""
    if not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        return "Control characters are not allowed, but for line feeds and tabs."
    if field in ("name", "category") and (text != text.strip() or "\n" in text or "\t" in text):
        return "This must be one line without space around it."
    if field == "persona" and _SPACED_OR_SLASHED.fullmatch(text):
        return "This must be one line without space around it and without a slash: it stands in addresses."
    return None


def _twice_in(file: CatalogFile) -> Iterator[Fault]:
    """Return a fault for each duplicate, and for each tool compared with itself."""
    slugs: set[str] = set()
    for n, tool in enumerate(file.tools):
        if tool.slug in slugs:
            yield f"/tools/{n}/slug", f"The slug {tool.slug!r} stands here twice."
        slugs.add(tool.slug)
        personas: set[str] = set()
        for m, review in enumerate(tool.panel):
            if review.persona.lower() in personas:
                yield f"/tools/{n}/panel/{m}/persona", f"The persona {review.persona!r} reviews this tool twice."
            personas.add(review.persona.lower())
    pairs: set[tuple[str, str]] = set()
    for n, pair in enumerate(file.comparisons):
        if pair.left == pair.right:
            yield f"/comparisons/{n}", f"The tool {pair.left!r} is compared with itself."
        elif (pair.left, pair.right) in pairs:
            yield f"/comparisons/{n}", f"The comparison of {pair.left!r} with {pair.right!r} stands here twice."
        pairs.add((pair.left, pair.right))


def import_catalog(
    tools: Mapping[str, Tool], announced: AbstractSet[tuple[str, str]], file: CatalogFile, tool_ids: Mapping[str, str]
) -> list[ToolEvent | ComparisonAnnounced]:
    """Return the events that make the catalog match a file without faults.

    `tools` holds the file's tools that the log has, by slug; `announced` the pairs (ids) that the log has; `tool_ids` the id of
    every slug in the file, known or new.
    """
    events: list[ToolEvent | ComparisonAnnounced] = []
    for said in file.tools:
        events += _import_tool(tools.get(said.slug), said, tool_ids[said.slug])
    for pair in file.comparisons:
        left, right = tool_ids[pair.left], tool_ids[pair.right]
        if (left, right) not in announced:
            events.append(ComparisonAnnounced(left=left, right=right))
    return events


def _import_tool(known: Tool | None, said: CatalogTool, tool: str) -> Iterator[ToolEvent]:
    """Return the events that make a tool match the file."""
    listed = known is None or known.listed
    description = _description(said, None if known is None else known.description.url)
    if known is None:
        yield ToolAdded(tool=tool, slug=said.slug, **msgspec.structs.asdict(description))
    elif known.description != description:
        yield ToolDescribed(tool=tool, **msgspec.structs.asdict(description))
    if said.listed is not UNSET and said.listed != listed:
        yield ToolListed(tool=tool) if said.listed else ToolUnlisted(tool=tool)
    for review in said.panel:
        yield from _import_review(known, review, tool)


def _import_review(known: Tool | None, said: CatalogReview, tool: str) -> Iterator[ToolEvent]:
    """Return the event that makes a panel review match the file; a persona keeps its first spelling."""
    before = None if known is None else known.panel.get(said.persona.lower())
    if before is None:
        yield PanelReviewPublished(tool=tool, persona=said.persona, score=said.score, verdict=said.verdict, take=said.take)
    elif (before.score, before.verdict, before.take) != (said.score, said.verdict, said.take):
        yield PanelReviewRevised(tool=tool, persona=before.persona, score=said.score, verdict=said.verdict, take=said.take)


def _description(said: CatalogTool, url: str | None) -> Description:
    return Description(
        name=said.name,
        tagline=said.tagline,
        description=said.description,
        category=said.category,
        pricing_tier=said.pricing.tier,
        pricing_label=said.pricing.label,
        best_for=said.best_for,
        url=url if said.url is UNSET else said.url,
    )
