"""Small catalogs for the tests, and how to have them imported."""

import os
from typing import Any

import msgspec

from events.catalog_file import CatalogFile
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


def file(*tools: dict[str, Any], comparisons: tuple[tuple[str, str], ...] = ()) -> CatalogFile:
    """Read a catalog file of these tools and pairs of slugs."""
    pairs = [{"left": left, "right": right} for left, right in comparisons]
    return msgspec.convert({"tools": list(tools), "comparisons": pairs}, CatalogFile)


async def import_tools(committer: Committer, *slugs: str) -> None:
    """Put plain tools into the catalog."""
    await committer.submit(ImportCatalog.of(file(*(tool(slug) for slug in slugs)), new_id, "op"))
