"""Small catalogs for the tests, and how to have them imported."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from events import catalog
from events.catalog import CatalogEvent, ComparisonAnnounced, Listing, Persona, PersonaDescribed, Tool
from events.catalog_file import CatalogFile, CatalogInvalid, Known, check, import_catalog
from events.catalog_slugs import check_pairs, check_successors, resolve
from events.commands.catalog import ImportCatalog
from events.log import ids
from events.log.committer import Committer


def new_id() -> str:
    """Make a fresh id."""
    return ids.new_id(1_800_000_000_000, os.urandom(10))


def tool(slug: str = "alpha", **changes: Any) -> dict[str, Any]:
    """Write a tool as a catalog file does."""
    plain = {"slug": slug, "name": slug.title(), "tagline": "t", "description": "d", "category": "Tools"}
    return {**plain, "pricing": {"tier": "free", "label": "Free"}, "best_for": "b", **changes}


def opinion(persona: str = "Builder", **changes: Any) -> dict[str, Any]:
    """Write a panel review as a catalog file does."""
    return {"persona": persona, "score": 80, "verdict": "ship", "take": "Good.", **changes}


def file(
    *tools: dict[str, Any], comparisons: tuple[tuple[str, str], ...] = (), personas: tuple[dict[str, Any], ...] = ()
) -> CatalogFile:
    """Read a catalog file of these tools, pairs of slugs, and personas."""
    pairs = [{"left": left, "right": right} for left, right in comparisons]
    return msgspec.convert({"tools": list(tools), "comparisons": pairs, "personas": list(personas)}, CatalogFile)


class Imported:
    """A catalog as imports make it, by the rules alone; `new_ids` has the ids of its tools by the slugs they come with."""

    def __init__(self, new_ids: Mapping[str, str]) -> None:
        self.listing = Listing()
        self.tools: dict[str, Tool] = {}
        self._new_ids = new_ids
        self._personas: dict[str, Persona] = {}
        self._announced: set[tuple[str, str]] = set()

    def take(self, said: CatalogFile) -> list[CatalogEvent]:
        """Import a file, and give what that appended. Raises CatalogInvalid."""
        meant = resolve(said, self.listing, self._new_ids)
        successors = {id_: one.description.successor for id_, one in self.tools.items() if one.description.successor}
        about_ids = [*check_pairs(said, meant.tool_ids), *check_successors(said, meant.tool_ids, successors)]
        if faults := [*check(said), *meant.faults, *about_ids]:
            raise CatalogInvalid(faults)
        events = import_catalog(Known(self.tools, self._personas, self._announced), said, meant.tool_ids)
        for event in events:
            self._apply(event)
        return events

    def _apply(self, event: CatalogEvent) -> None:
        match event:
            case ComparisonAnnounced():
                self._announced.add((event.left, event.right))
            case PersonaDescribed():
                lower = event.persona.lower()
                described = catalog.evolve_persona(self._personas.get(lower), event)
                assert described is not None
                self._personas[lower] = described
            case _:
                state = catalog.evolve(self.tools.get(event.tool), event)
                assert state is not None
                self.tools[event.tool] = state
                if isinstance(event, Listing.types):
                    values = (getattr(event, field, None) for field in Listing.fields)
                    self.listing.evolve(self.listing.position + 1, type(event).__name__, *values)


async def import_tools(committer: Committer, *slugs: str) -> None:
    """Put plain tools into the catalog."""
    await committer.submit(ImportCatalog.of(file(*(tool(slug) for slug in slugs)), new_id, "op"))
