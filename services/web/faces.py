"""What is drawn of tools: a face holds all that a picture shows, and the colours are those of light pages.

The drawing itself is loaded with the first picture that is asked for.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Verdict = Literal["ship", "skip", "mixed"]

PAPER: Final = "#faf8f4"
"""The ground of light pages."""
COLOURS: Final[Mapping[Verdict | None, tuple[str, str]]] = {
    "ship": ("#0b5c6b", "#dff0f1"),
    "skip": ("#a8400f", "#fbe9df"),
    "mixed": ("#55524b", "#efece5"),
    None: ("#55524b", "#efece5"),
}
"""Of a verdict the colour of its word and of the ground: those of the style sheet for light pages."""


class Stand(NamedTuple):
    """A verdict on a tool: whose, the word for it, and in how many votes."""

    whose: str
    verdict: Verdict | None
    word: str
    line: str


class Subject(NamedTuple):
    """A tool as it is drawn. `slug` is drawn where the name can't be."""

    slug: str
    name: str
    category: str
    initial: str
    hue: int
    stands: tuple[Stand, Stand]


class Face(NamedTuple):
    """All that a picture shows: one tool or two, and whose site it is of."""

    subjects: tuple[Subject, ...]
    site: str
    address: str
    accent: str
