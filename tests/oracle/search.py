"""Search told again in plain Python: the words of each tool, and of all."""

import re
import unicodedata
from collections import Counter

from events.catalog import ToolAdded, ToolDescribed, ToolListed, ToolUnlisted
from events.log.event import Event
from tests.oracle.entries import Entry, Key, Row, Tables

_APART = re.compile("([\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff])")
_BETWEEN = re.compile("[\x01-\x22\x24-\x2a\x2c-\x2f:-`{-\xbf\xd7\xf7\u2000-\u206f\u3000-\u303f\ufe00-\ufe0f]+")


def words(text: str) -> list[str]:
    """Return the words of a text as search compares them."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not "\u0300" <= c <= "\u036f")
    spaced = _APART.sub(r" \1 ", unicodedata.normalize("NFKC", plain).lower())
    return [word for word in _BETWEEN.split(re.sub("[+#]+(?=[0-9a-z])", " ", spaced)) if word]


def terms(name: str, tagline: str, category: str, description: str) -> set[str]:
    """Return what a tool is found by."""
    leads = words(f"{tagline} {category}")
    depths = (words(name), words(name) + leads, words(name) + leads + words(description))
    return {f"{depth}{word[:40]}" for depth, of in enumerate(depths, 1) for word in of}


class Search:
    """What each tool is found by, and how many listed tools have each word."""

    concerns: tuple[type[Event], ...] = (ToolAdded, ToolDescribed, ToolListed, ToolUnlisted)

    def __init__(self) -> None:
        self._documents: dict[Key, Row] = {}
        self._terms: dict[Key, set[str]] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        match event:
            case ToolAdded():
                self._documents[event.tool,] = {"tool": event.tool, "listed": True}
                self._describe(event)
            case ToolDescribed():
                self._describe(event)
            case ToolListed() | ToolUnlisted():
                self._documents.get((event.tool,), {})["listed"] = isinstance(event, ToolListed)

    def _describe(self, event: ToolAdded | ToolDescribed) -> None:
        if (row := self._documents.get((event.tool,))) is not None:
            found = terms(event.name, event.tagline, event.category, event.description)
            self._terms[event.tool,] = found
            row["key"] = "".join(words(event.name))[:120]
            row["terms"] = " ".join(f"'{term}'" for term in sorted(found))

    def tables(self) -> Tables:
        """Return the rows."""
        listed = [term for key, found in self._terms.items() if self._documents[key]["listed"] for term in found]
        counts = Counter((term[0], term[1:]) for term in listed)
        columns = {"names": "1", "leads": "2", "texts": "3"}
        rows = {(word,): {"word": word, **{name: counts[depth, word] for name, depth in columns.items()}} for _, word in counts}
        return {"documents": self._documents, "words": rows}
