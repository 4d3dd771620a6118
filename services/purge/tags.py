"""The tags of public answers: what each shows, so that caches can be told to forget what a change touches."""

from collections.abc import Sequence
from typing import Final

EVERYTHING: Final = "page"
"""The tag of every shared answer."""
LISTS: Final = "list"
"""The tag of what shows many tools: any change may move something there."""
MOST: Final = 100
"""Tags of one call: providers take no more, and so many changes at once leave little that is worth keeping."""


def tool_tag(slug: str) -> str:
    """Return the tag of the answers that show a tool."""
    return f"tool-{slug}"


def tags_of_tools(slugs: Sequence[str]) -> list[str]:
    """Return the tags of what shows any of these tools, and of the lists; of everything if they are too many for one call."""
    return [EVERYTHING] if len(slugs) >= MOST else [LISTS, *map(tool_tag, slugs)]
