"""Read what stands close to a tool or a comparison: announced pairs with the same tools, and tools near by in a category."""

from collections.abc import Sequence
from typing import Final

from events.log.reads import Reads
from projections.registry import named
from projections.tools import Pair, pairs_of

# The tools beside one in its category, by what votes have settled: as many on either side.
NEAR: Final = named("""
with own as materialized (
    select o.tool, o.slug, o.category, log.settled_place(o.ship, o.skip) as place from {cards}.tallies o where o.tool = $1
)
select p.slug, p.name
from own w
cross join lateral (
    (select t.tool, log.settled_place(t.ship, t.skip) as place, t.slug
     from {cards}.tallies t
     where t.listed and t.category = w.category and (log.settled_place(t.ship, t.skip), t.slug) < (w.place, w.slug)
     order by log.settled_place(t.ship, t.skip) desc, t.slug desc
     limit $2)
    union all
    (select t.tool, log.settled_place(t.ship, t.skip), t.slug
     from {cards}.tallies t
     where t.listed and t.category = w.category and (log.settled_place(t.ship, t.skip), t.slug) > (w.place, w.slug)
     order by log.settled_place(t.ship, t.skip), t.slug
     limit $2)
) n
cross join lateral (select x.slug, x.name from {cards}.places x where x.tool = n.tool and x.listed offset 0) p
order by n.place, n.slug
""")


async def near(pool: Reads, tool: str, each: int) -> Sequence[tuple[str, str]]:
    """Return slug and name of up to `each` tools above and below a tool, by its id, in its category; the best first."""
    return [(row["slug"], row["name"]) for row in await pool.fetch(NEAR, tool, each)]


async def related_pairs(pool: Reads, left: str, right: str, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs with either of two tools, by their ids, and another one; newest first."""
    own = [pair for tool in (left, right) for pair in await pairs_of(pool, tool, limit + 2)]
    others = {pair.position: pair for pair in own if own.count(pair) == 1}
    return [others[position] for position in sorted(others, reverse=True)][:limit]
