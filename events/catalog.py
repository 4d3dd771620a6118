"""Tools, the panel's reviews of them, and announced comparisons."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from events.log import ids
from events.log.event import Event

Verdict = Literal["ship", "skip"]
Tier = Literal["free", "paid", "freemium"]


class _ToolText(Event, frozen=True, kw_only=True):
    """All that is said of a tool."""

    tool: str
    name: str
    tagline: str
    description: str
    category: str
    pricing_tier: Tier
    pricing_label: str
    best_for: str
    url: str | None = None


class ToolAdded(_ToolText, frozen=True, kw_only=True):
    """A tool was added to the catalog, listed. Its slug names it in URLs and never changes."""

    slug: str


class ToolDescribed(_ToolText, frozen=True, kw_only=True):
    """A tool's description changed; every field holds its new value."""


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


class ComparisonAnnounced(Event, frozen=True, kw_only=True):
    """A pair of tools was announced as a comparison. Left and right are tools' ids."""

    left: str
    right: str


EVENTS = (
    ToolAdded,
    ToolDescribed,
    ToolUnlisted,
    ToolListed,
    PanelReviewPublished,
    PanelReviewRevised,
    ComparisonAnnounced,
)

ToolEvent = ToolAdded | ToolDescribed | ToolListed | ToolUnlisted | PanelReviewPublished | PanelReviewRevised


VIEW: Final = "cards"
"""The projection that serves the catalog: an event that it passes over is none of the catalog's."""


class ToolNotListed(Exception):
    """No listed tool has this slug."""


class Listing:
    """The tools, and which of them are listed, as of `position`. It is the log's listing, which every command sees."""

    # A partial index of the log names the same three.
    types: ClassVar[tuple[type[Event], ...]] = (ToolAdded, ToolListed, ToolUnlisted)
    fields: ClassVar[tuple[str, ...]] = ("tool", "slug")

    def __init__(self) -> None:
        self.position = 0
        self._tools: dict[str, str] = {}
        self._unlisted: set[str] = set()

    def evolve(self, position: int, type_: str, *values: str | None) -> None:
        """Take in an event of one of `types`, by the values of `fields`."""
        self.position = position
        tool, slug = values
        if tool is None:
            return
        if slug is not None:
            self._tools.setdefault(slug, tool)  # the first tool of a slug holds, as in the views
            self._unlisted.discard(tool)
        elif type_ == ToolUnlisted.__name__:
            self._unlisted.add(tool)
        else:
            self._unlisted.discard(tool)

    def find(self, slug: str) -> str | None:
        """Return the id of the tool with this slug, listed or not; None if there is none."""
        return self._tools.get(slug)

    def listed(self, slug: str) -> str:
        """Return the id of the listed tool with this slug. Raises ToolNotListed if there is none."""
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


class Judgement(msgspec.Struct, frozen=True):
    """A panel persona's judgement of a tool."""

    persona: str
    score: int | None
    verdict: Verdict
    take: str


class Tool(msgspec.Struct, frozen=True):
    """A tool's state. `panel` holds judgements by lower-case persona, because URLs don't tell cases apart."""

    tool: str
    slug: str
    listed: bool
    description: Description
    panel: Mapping[str, Judgement] = {}


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
        case ToolListed() | ToolUnlisted():
            return replace(state, listed=isinstance(event, ToolListed))
        case PanelReviewPublished() | PanelReviewRevised():
            judgement = Judgement(event.persona, event.score, event.verdict, event.take)
            return replace(state, panel={**state.panel, event.persona.lower(): judgement})
    return state


def stream(event: ToolEvent | ComparisonAnnounced) -> UUID:
    """Return the stream of a catalog event: the tool's, or the pair's."""
    if isinstance(event, ComparisonAnnounced):
        return pair_stream(event.left, event.right)
    return ids.stream_of(event.tool)


def pair_stream(left: str, right: str) -> UUID:
    """Return the stream of a pair of tools, by their ids."""
    return ids.stream_named("comparison", left, right)
