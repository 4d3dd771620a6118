"""The head of a page, read as a crawler reads it."""

from html.parser import HTMLParser

import msgspec


class Head(HTMLParser):
    """Title, meta elements by name or property, links by relation, and the JSON-LD of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = ""
        self.meta: dict[str, str] = {}
        self.links: dict[str, list[dict[str, str]]] = {}
        self.data: list[object] = []
        self.scripts: list[dict[str, str]] = []
        self._open: str | None = None
        self._text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "meta" and (name := named.get("name") or named.get("property")):
            name += f" {named['media']}" if "media" in named else ""
            assert name not in self.meta, f"{name} is said twice"
            self.meta[name] = named["content"]
        elif tag == "link":
            self.links.setdefault(named["rel"], []).append(named)
        elif tag == "script":
            self.scripts.append(named)
            self._open = "data" if named.get("type") == "application/ld+json" else None
        elif tag == "title" and not self.title:
            self._open = "title"
        self._text = ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if self._open == "title":
            self.title = self._text
        elif self._open == "data":
            self.data.append(msgspec.json.decode(self._text.encode()))
        self._open = None

    @property
    def canonical(self) -> str | None:
        """The page's own address; None if it names none."""
        found = self.links.get("canonical", [])
        assert len(found) <= 1
        return found[0]["href"] if found else None
