"""Who stands where by the community's votes: the order of the tools' list, for questions of what if."""

from collections.abc import Mapping
from typing import Any

from asyncpg import Connection

from projections.registry import named
from projections.tally import wilson

Tally = tuple[int, int]

LISTED = named("""
select t.slug, coalesce(y.ship, 0) as ship, coalesce(y.skip, 0) as skip
from {cards}.tools t left join {cards}.tallies y on y.tool = t.tool where t.listed
""")


async def listed_tallies(connection: "Connection[Any]") -> dict[str, Tally]:
    """Give every listed tool's (ship, skip) by slug."""
    return {row["slug"]: (row["ship"], row["skip"]) for row in await connection.fetch(LISTED)}


def ranks(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Rank tools, from 1: by the lower Wilson bound, those without votes last, ties by slug."""
    return {slug: rank for rank, slug in enumerate(sorted(tallies, key=lambda slug: (_key(tallies[slug]), slug)), 1)}


def _key(tally: Tally) -> float:
    ship, total = tally[0], sum(tally)
    return -wilson(ship, total)[0] if total else 1.0
