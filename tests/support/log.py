"""Events put into the log past the rules, and tools that are listed there."""

from collections.abc import Sequence
from uuid import UUID

from events.catalog import ToolAdded
from events.log import ids
from events.log.command import Command, Decision, Reads, Seen
from events.log.committer import Committer
from events.log.event import Event
from tests.support.catalogs import new_id


class Append(Command[None], frozen=True):
    """A command that appends these events, whatever the log holds."""

    events: Sequence[tuple[UUID, Event]]

    def reads(self, listing: object) -> Reads:
        return Reads([stream for stream, _ in self.events])

    def decide(self, seen: Seen) -> Decision[None]:
        return Decision(events=self.events, value=None)


def append(*events: tuple[UUID, Event]) -> Append:
    """Return the command that appends these events."""
    return Append(events)


def tool_added(tool: str, slug: str) -> ToolAdded:
    """Return the event of a plain tool."""
    return ToolAdded(
        tool=tool, slug=slug, name=slug.title(), tagline="t", description="d", category="c",
        pricing_tier="free", pricing_label="Free", best_for="b", url=None,
    )  # fmt: skip


async def add_tools(committer: Committer, *slugs: str) -> dict[str, str]:
    """Add plain tools; return their ids by slug."""
    tools = {slug: new_id() for slug in slugs}
    await committer.submit(append(*((ids.stream_of(tool), tool_added(tool, slug)) for slug, tool in tools.items())))
    return tools
