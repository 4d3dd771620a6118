"""Tools, the panel's reviews of them, the panel's personas, and announced comparisons."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from typing import ClassVar, Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from events.log import ids
from events.log.event import Event

Verdict = Literal["ship", "skip"]
Tier = Literal["free", "paid", "freemium"]


class _ToolText(Event, frozen=True, kw_only=True):
    """All that is said of a tool. `reviewed` is the day that the panel's reviews are of, `successor` another tool's id."""

    tool: str
    name: str
    tagline: str
    description: str
    category: str
    pricing_tier: Tier
    pricing_label: str
    best_for: str
    url: str | None = None
    reviewed: date | None = None
    disclosure: str | None = None
    successor: str | None = None


class ToolAdded(_ToolText, frozen=True, kw_only=True):
    """A tool was added to the catalog, listed. Its slug names it in URLs."""

    slug: str


class ToolDescribed(_ToolText, frozen=True, kw_only=True):
    """A tool's description changed; every field holds its new value."""


class ToolRenamed(Event, frozen=True, kw_only=True):
    """A tool took another slug. The slug that it had leads to it for ever."""

    tool: str
    slug: str


class FormerSlugAdded(Event, frozen=True, kw_only=True):
    """A slug that a tool had elsewhere, and never here, leads to it."""

    tool: str
    slug: str


class ToolUnlisted(Event, frozen=True, kw_only=True):
    """A tool was taken off the site. Its history stays."""

    tool: str


class ToolListed(Event, frozen=True, kw_only=True):
    """An unlisted tool was put back on the site."""

    tool: str


class _PanelReview(Event, frozen=True, kw_only=True):
    """A persona's judgement of a tool."""

    tool: str
    persona: str
    score: int | None = None
    verdict: Verdict
    take: str


class PanelReviewPublished(_PanelReview, frozen=True, kw_only=True):
    """A persona of the panel judged a tool for the first time."""


class PanelReviewRevised(_PanelReview, frozen=True, kw_only=True):
    """A persona changed its judgement; every field holds its new value."""


class PersonaDescribed(Event, frozen=True, kw_only=True):
    """A persona of the panel was described, or its description changed; every field holds its new value."""

    persona: str
    role: str | None = None
    phrase: str | None = None
    profile: str | None = None
    excited_by: tuple[str, ...] = ()
    tired_of: tuple[str, ...] = ()


class ComparisonAnnounced(Event, frozen=True, kw_only=True):
    """A pair of tools was announced as a comparison. Left and right are tools' ids."""

    left: str
    right: str


EVENTS = (
    ToolAdded,
    ToolDescribed,
    ToolRenamed,
    FormerSlugAdded,
    ToolUnlisted,
    ToolListed,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    ComparisonAnnounced,
)

ToolEvent = (
    ToolAdded
    | ToolDescribed
    | ToolRenamed
    | FormerSlugAdded
    | ToolListed
    | ToolUnlisted
    | PanelReviewPublished
    | PanelReviewRevised
)
CatalogEvent = ToolEvent | PersonaDescribed | ComparisonAnnounced


VIEW: Final = "cards"
"""The projection that serves the catalog: an event that it passes over is none of the catalog's."""


class ToolNotListed(Exception):
    """No listed tool has this slug."""


class Listing:
    """The tools by every slug that they have or had, and which are listed, as of `position`: what every command sees."""

    # A partial index of the log names the same five.
    types: ClassVar[tuple[type[Event], ...]] = (ToolAdded, ToolRenamed, FormerSlugAdded, ToolListed, ToolUnlisted)
    fields: ClassVar[tuple[str, ...]] = ("tool", "slug")

    def __init__(self) -> None:
        self.position = 0
        self._tools: dict[str, str] = {}
        self._unlisted: set[str] = set()
        # Nearly every tool has the one slug that it was added with, so only the others are kept: the present slugs of tools
        # that were renamed, and the slugs that others had elsewhere.
        self._renamed: dict[str, str] = {}
        self._elsewhere: set[str] = set()

    def evolve(self, position: int, type_: str, *values: str | None) -> None:
        """Take in an event of one of `types`, by the values of `fields`."""
        self.position = position
        tool, slug = values
        if tool is None:
            return
        if slug is not None:
            if self._tools.setdefault(slug, tool) == tool:  # the first tool of a slug holds, as in the views
                self._name(type_, tool, slug)
        elif type_ == ToolUnlisted.__name__:
            self._unlisted.add(tool)
        else:
            self._unlisted.discard(tool)

    def _name(self, type_: str, tool: str, slug: str) -> None:
        if type_ == FormerSlugAdded.__name__:
            self._elsewhere.add(slug)
            return
        if type_ == ToolAdded.__name__:
            self._unlisted.discard(tool)
        if type_ == ToolRenamed.__name__ or tool in self._renamed or slug in self._elsewhere:
            self._renamed[tool] = slug

    def find(self, slug: str) -> str | None:
        """Return the id of the tool that has or had this slug, listed or not; None if there is none."""
        return self._tools.get(slug)

    def is_former(self, slug: str) -> bool:
        """Return whether a tool had this slug and has another one now."""
        tool = self._tools.get(slug)
        if tool is None:
            return False
        present = self._renamed.get(tool)
        return slug in self._elsewhere if present is None else slug != present

    def listed(self, slug: str) -> str:
        """Return the id of the listed tool that has or had this slug. Raises ToolNotListed if there is none."""
        tool = self._tools.get(slug)
        if tool is None or tool in self._unlisted:
            raise ToolNotListed(slug)
        return tool


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """The description on a tool's page."""

    name: str
    tagline: str
    description: str
    category: str
    pricing_tier: Tier
    pricing_label: str
    best_for: str
    url: str | None
    reviewed: date | None
    disclosure: str | None
    successor: str | None


class Judgement(msgspec.Struct, frozen=True):
    """A panel persona's judgement of a tool."""

    persona: str
    score: int | None
    verdict: Verdict
    take: str


class Tool(msgspec.Struct, frozen=True):
    """A tool's state. `panel` holds judgements by lower-case persona, because URLs don't tell cases apart.

    `former` are the slugs that lead to it beside its own.
    """

    tool: str
    slug: str
    listed: bool
    description: Description
    panel: Mapping[str, Judgement] = {}
    former: AbstractSet[str] = frozenset()


class Persona(msgspec.Struct, frozen=True):
    """What is said of a persona of the panel. Role and phrase are a line each; the lists are what it likes, and doesn't."""

    persona: str
    role: str | None
    phrase: str | None
    profile: str | None
    excited_by: tuple[str, ...]
    tired_of: tuple[str, ...]


def describe(event: ToolAdded | ToolDescribed) -> Description:
    """Return the description that an event carries."""
    return Description(**{field: getattr(event, field) for field in Description.__struct_fields__})


def evolve(state: Tool | None, event: Event) -> Tool | None:
    """Return the tool after an event of its stream."""
    if isinstance(event, ToolAdded):
        return Tool(event.tool, event.slug, True, describe(event))
    if state is None:
        return None
    match event:
        case ToolDescribed():
            return replace(state, description=describe(event))
        case ToolRenamed():
            return replace(state, slug=event.slug, former=(state.former | {state.slug}) - {event.slug})
        case FormerSlugAdded():
            return replace(state, former=state.former | {event.slug})
        case ToolListed() | ToolUnlisted():
            return replace(state, listed=isinstance(event, ToolListed))
        case PanelReviewPublished() | PanelReviewRevised():
            judgement = Judgement(event.persona, event.score, event.verdict, event.take)
            return replace(state, panel={**state.panel, event.persona.lower(): judgement})
    return state


def undescribed(persona: str) -> Persona:
    """Return a persona of which nothing is said."""
    return Persona(persona, None, None, None, (), ())


def evolve_persona(state: Persona | None, event: Event) -> Persona | None:
    """Return the persona after an event of its stream."""
    return Persona(**msgspec.structs.asdict(event)) if isinstance(event, PersonaDescribed) else state


def stream(event: CatalogEvent) -> UUID:
    """Return the stream of a catalog event: the tool's, the persona's, or the pair's."""
    match event:
        case ComparisonAnnounced():
            return pair_stream(event.left, event.right)
        case PersonaDescribed():
            return persona_stream(event.persona)
    return ids.stream_of(event.tool)


def persona_stream(persona: str) -> UUID:
    """Return the stream of a persona of the panel, by its name in any case."""
    return ids.stream_named("persona", persona.lower())


def pair_stream(left: str, right: str) -> UUID:
    """Return the stream of a pair of tools, by their ids."""
    return ids.stream_named("comparison", left, right)
