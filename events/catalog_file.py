"""The catalog file: its shape, its faults, and the events that make the catalog match it.

Tools that the file leaves out stay as they are. A faulty file is refused with every fault, each at its JSON pointer.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events import catalog
from events.catalog import (
    CatalogEvent,
    ComparisonAnnounced,
    Description,
    FormerSlugAdded,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    Tier,
    Tool,
    ToolAdded,
    ToolDescribed,
    ToolEvent,
    ToolListed,
    ToolRenamed,
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
Disclosure = Annotated[str, Meta(min_length=1, max_length=500)]
Role = Annotated[str, Meta(min_length=1, max_length=120)]
Phrase = Annotated[str, Meta(min_length=1, max_length=300)]
Profile = Annotated[str, Meta(min_length=1, max_length=4_000)]
Tastes = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)]
FormerSlugs = Annotated[list[Slug], Meta(max_length=100)]

TAKEN: Final = frozenset({"facts"})
"""Slugs that no tool can have: `/tools/facts` lists the facts of all tools."""

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
    """A tool. What may be left out keeps its value then; null clears it.

    A slug that is new, with a slug of the catalog among `former_slugs`, renames that tool. A former slug stays for ever.
    """

    slug: Slug
    name: Label
    tagline: Line
    description: Prose
    category: Label
    pricing: CatalogPricing
    best_for: Line
    url: Url | UnsetType | None = UNSET
    listed: bool | UnsetType = UNSET
    reviewed: date | UnsetType | None = UNSET
    disclosure: Disclosure | UnsetType | None = UNSET
    successor: Slug | UnsetType | None = UNSET
    former_slugs: FormerSlugs = []
    panel: list[CatalogReview] = []


class CatalogPersona(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A persona of the panel. What is left out keeps its value; null clears it."""

    persona: Persona
    role: Role | UnsetType | None = UNSET
    phrase: Phrase | UnsetType | None = UNSET
    profile: Profile | UnsetType | None = UNSET
    excited_by: Tastes | UnsetType | None = UNSET
    tired_of: Tastes | UnsetType | None = UNSET


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An announced comparison of two tools, by slug."""

    left: Slug
    right: Slug


class CatalogFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A catalog as the operator writes it."""

    tools: list[CatalogTool]
    personas: list[CatalogPersona] = []
    comparisons: list[Pair] = []


class Known(msgspec.Struct, frozen=True):
    """What the catalog has of a file's things: tools by id, personas by lower-case name, and announced pairs of ids."""

    tools: Mapping[str, Tool] = {}
    personas: Mapping[str, catalog.Persona] = {}
    announced: AbstractSet[tuple[str, str]] = frozenset()


class CatalogInvalid(Exception):
    """The file is faulty; `faults` holds everything that was found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{pointer}: {sentence}" for pointer, sentence in faults))
        self.faults = list(faults)


def check(file: CatalogFile) -> list[Fault]:
    """Return the faults of a file on its own: bad texts, and duplicates."""
    return [*_bad_texts("", msgspec.to_builtins(file)), *_twice_in(file)]


def most_events(file: CatalogFile) -> int:
    """Return how many events a file can come to at most."""
    of_tools = sum(2 + len(tool.panel) + len(tool.former_slugs) for tool in file.tools)
    return of_tools + len(file.personas) + len(file.comparisons)


def _bad_texts(pointer: str, value: Any, field: str = "") -> Iterator[Fault]:
    match value:
        case str():
            if fault := _bad_text(field, value):
                yield pointer, fault
        case dict():
            for name, member in value.items():
                yield from _bad_texts(f"{pointer}/{name}", member, name)
        case list():
            for n, member in enumerate(value):
                yield from _bad_texts(f"{pointer}/{n}", member, field)


_ONE_LINE = frozenset({"name", "category", "disclosure", "role", "phrase", "excited_by", "tired_of"})
_SEVERAL = re.compile("[\n\t\u2028\u2029]")
_SPACED_OR_SLASHED = re.compile(r"\s.*|.*\s|.*[/\n\t].*|\.{1,2}", re.S)


def _bad_text(field: str, text: str) -> str | None:
    """Return the fault of a text: control characters, or more than one line in what is shown as a line."""
    if not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        return "Control characters are not allowed, but for line feeds and tabs."
    if field in _ONE_LINE and (text != text.strip() or _SEVERAL.search(text)):
        return "This must be one line without space around it."
    if field == "persona" and _SPACED_OR_SLASHED.fullmatch(text):
        return "This must be one line without space around it and without a slash: it stands in addresses."
    return None


def _twice_in(file: CatalogFile) -> Iterator[Fault]:
    """Return a fault for each duplicate, and for each tool compared with itself."""
    for n, tool in enumerate(file.tools):
        personas: set[str] = set()
        for m, review in enumerate(tool.panel):
            if review.persona.lower() in personas:
                yield f"/tools/{n}/panel/{m}/persona", f"The persona {review.persona!r} reviews this tool twice."
            personas.add(review.persona.lower())
    slugs = {tool.slug for tool in file.tools}
    yield from _twice((f"/tools/{n}/slug", "slug", tool.slug) for n, tool in enumerate(file.tools))
    former = [
        (f"/tools/{n}/former_slugs/{m}", slug) for n, tool in enumerate(file.tools) for m, slug in enumerate(tool.former_slugs)
    ]
    yield from _twice((pointer, "former slug", slug) for pointer, slug in former)
    named = [(f"/tools/{n}/slug", tool.slug) for n, tool in enumerate(file.tools)]
    taken = [(pointer, slug) for pointer, slug in (*named, *former) if slug in TAKEN]
    yield from ((pointer, f"The slug {slug!r} is an address of the site: use another.") for pointer, slug in taken)
    yield from ((pointer, f"The slug {slug!r} can't be a former one too.") for pointer, slug in former if slug in slugs)
    yield from _twice((f"/personas/{n}/persona", "persona", said.persona.lower()) for n, said in enumerate(file.personas))
    pairs: set[tuple[str, str]] = set()
    for n, pair in enumerate(file.comparisons):
        if pair.left == pair.right:
            yield f"/comparisons/{n}", f"The tool {pair.left!r} is compared with itself."
        elif (pair.left, pair.right) in pairs:
            yield f"/comparisons/{n}", f"The comparison of {pair.left!r} with {pair.right!r} stands here twice."
        pairs.add((pair.left, pair.right))


def _twice(named: Iterable[tuple[str, str, str]]) -> Iterator[Fault]:
    """Return a fault for each of these names, with its pointer and its kind, that was there before."""
    seen: set[str] = set()
    for pointer, kind, name in named:
        if name in seen:
            yield pointer, f"The {kind} {name!r} stands here twice."
        seen.add(name)


def import_catalog(known: Known, file: CatalogFile, tool_ids: Mapping[str, str]) -> list[CatalogEvent]:
    """Return the events that make the catalog match a file without faults. `tool_ids` has the id of every slug in the file."""
    events: list[CatalogEvent] = []
    for tool in file.tools:
        id_ = tool_ids[tool.slug]
        events += _import_tool(known.tools.get(id_), tool, id_, tool_ids)
    for persona in file.personas:
        events += _import_persona(known.personas.get(persona.persona.lower()), persona)
    pairs = dict.fromkeys((tool_ids[pair.left], tool_ids[pair.right]) for pair in file.comparisons)
    events += [ComparisonAnnounced(left=left, right=right) for left, right in pairs if (left, right) not in known.announced]
    return events


def _import_tool(known: Tool | None, said: CatalogTool, tool: str, tool_ids: Mapping[str, str]) -> Iterator[ToolEvent]:
    """Return the events that make a tool match the file."""
    listed = known is None or known.listed
    description = _description(said, None if known is None else known.description, tool_ids)
    if known is None:
        yield ToolAdded(tool=tool, slug=said.slug, **msgspec.structs.asdict(description))
    else:
        if known.slug != said.slug:
            yield ToolRenamed(tool=tool, slug=said.slug)
        if known.description != description:
            yield ToolDescribed(tool=tool, **msgspec.structs.asdict(description))
    leading = set() if known is None else {known.slug, *known.former}
    yield from (FormerSlugAdded(tool=tool, slug=slug) for slug in said.former_slugs if slug not in leading)
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


def _import_persona(known: catalog.Persona | None, said: CatalogPersona) -> Iterator[PersonaDescribed]:
    """Return the event that makes a persona match the file; it keeps its first spelling."""
    before = known or catalog.undescribed(said.persona)
    persona = catalog.Persona(
        persona=before.persona,
        role=_kept(said.role, before.role),
        phrase=_kept(said.phrase, before.phrase),
        profile=_kept(said.profile, before.profile),
        excited_by=before.excited_by if said.excited_by is UNSET else tuple(said.excited_by or ()),
        tired_of=before.tired_of if said.tired_of is UNSET else tuple(said.tired_of or ()),
    )
    if persona != known:
        yield PersonaDescribed(**msgspec.structs.asdict(persona))


def _description(said: CatalogTool, known: Description | None, tool_ids: Mapping[str, str]) -> Description:
    successor = tool_ids[said.successor] if isinstance(said.successor, str) else said.successor
    return Description(
        name=said.name,
        tagline=said.tagline,
        description=said.description,
        category=said.category,
        pricing_tier=said.pricing.tier,
        pricing_label=said.pricing.label,
        best_for=said.best_for,
        url=_kept(said.url, known.url if known else None),
        reviewed=_kept(said.reviewed, known.reviewed if known else None),
        disclosure=_kept(said.disclosure, known.disclosure if known else None),
        successor=_kept(successor, known.successor if known else None),
    )


V = TypeVar("V")


def _kept(said: V | UnsetType, before: V) -> V:
    """Return what the file says, or what was before if it says nothing."""
    return before if said is UNSET else said
