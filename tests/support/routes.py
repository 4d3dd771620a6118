"""Every route of the site, with an address that fits it: for promises that hold whatever a route does."""

from typing import NamedTuple

from services.web.app import PAGES, ROUTES, TAGS
from services.web.http.openapi import documentation

ID = "AaIBaD4Jdt2r0cFH3ftnxQ"
_SAMPLES = {
    "tool": "some-tool",
    "pair": "some-tool-vs-another",
    "persona": "builder",
    "category": "coding",
    "id": ID,
    "review": ID,
    "webhook": ID,
    "visitor": ID,
    "subscriber": ID,
    "provider": "google",
    "mail": "confirmation",
    "problem": "bad-input",
    "number": "1",
    "name": "site.css",
    "log": "1",
    "entry": "1",
    "tile": "0/000",
    "pack": "0.jsonl.gz",
    "card": "some-tool.png",
    "badge": "some-tool.svg",
    "sitemap": "pages.xml",
}


class Route(NamedTuple):
    """A method, and the path as it is declared."""

    method: str
    path: str

    def address(self, **chosen: str) -> str:
        """Return the path with its parameters filled in."""
        return self.path.replace(":str}", "}").replace(":path}", "}").format_map(_SAMPLES | chosen)

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters."""
        return [step[1:].partition(":")[0].rstrip("}") for step in self.path.split("/") if step.startswith("{")]


def all_routes() -> list[Route]:
    """Return every route but those that answer OPTIONS."""
    served = [*ROUTES, *documentation(ROUTES, TAGS), *PAGES]
    found = {Route(method, path) for route in served for path in route.paths for method in route.http_methods}
    return sorted(found - {route for route in found if route.method == "OPTIONS"})
