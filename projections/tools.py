"""Read lists from the cards: tools in every order, announced pairs, categories, reviewers. All page by keyset."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from asyncpg import Pool

from events.catalog import Verdict
from projections.registry import named
from projections.tally import Z

Sort = Literal["name", "community", "panel", "trending"]


class Place(msgspec.Struct, frozen=True):
    """A tool's place in a list: two keys that rise, then the slug. By name, the keys are 0 and `name` decides."""

    slug: str
    name: str
    first: float
    second: float


class Pair(msgspec.Struct, frozen=True):
    """An announced pair with both slugs and names."""

    left: str
    right: str
    left_name: str
    right_name: str
    position: int


class Category(msgspec.Struct, frozen=True):
    """A category and its number of listed tools."""

    name: str
    tools: int


class CategoryCount(msgspec.Struct, frozen=True):
    """The number of tools of a category that a persona reviewed and shipped."""

    category: str
    reviewed: int
    shipped: int


class Reviewer(msgspec.Struct, frozen=True):
    """The number of listed tools that a persona reviewed and shipped."""

    persona: str
    reviewed: int
    shipped: int
    categories: list[CategoryCount]


class PersonaVerdict(msgspec.Struct, frozen=True):
    """A persona's judgement of one tool; `position` is that of its last change."""

    tool: str
    name: str
    category: str
    score: int | None
    verdict: Verdict
    take: str
    position: int


# Each order has keys that rise, so that one comparison of rows pages them all. By the community: the lower Wilson bound, as
# `tally.wilson` computes it, tools without votes last; `:z` is its z, spelled as a constant, as a parameter it made a page
# of tools 8 % slower. By the panel: percent, then count. By trend: the net votes of the hours since 7 days before this hour.
TOOLS = named("""
select t.slug, t.name, k.first, k.second
from {cards}.tools t
left join {cards}.tallies y on y.tool = t.tool and y.ship + y.skip > 0
left join lateral (
    select count(*) as reviews, count(*) filter (where r.verdict = 'ship') as ships from {cards}.panel r where r.tool = t.tool
) p on $1 = 'panel'
left join lateral (
    select sum(h.ship - h.skip) as net from {hours}.hours h
    where h.tool = t.tool and h.hour >= date_trunc('hour', now(), 'UTC') - interval '7 days'
) w on $1 = 'trending'
cross join lateral (
    select y.ship::float8 / (y.ship + y.skip) as p, (y.ship + y.skip)::float8 as n, :z::float8 as z, :z::float8 ^ 2 as zz
) v
cross join lateral (
    select case $1
               when 'community' then coalesce(
                   -((v.p + v.zz / (2 * v.n) - v.z * sqrt(v.p * (1 - v.p) / v.n + v.zz / (4 * v.n * v.n)))
                     / (1 + v.zz / v.n)), 1)
               when 'panel' then case when p.reviews = 0 then 1 else -((200 * p.ships + p.reviews) / (2 * p.reviews)) end
               when 'trending' then -coalesce(w.net, 0)
               else 0
           end::float8 as first,
           case $1 when 'panel' then -p.reviews else 0 end::float8 as second
) k
where t.listed and ($2::text is null or t.category = $2)
  and ($3::text is null
       or (k.first, k.second, case $1 when 'name' then t.name collate "C" else '' end, t.slug)
          > ($5::float8, $6::float8, case $1 when 'name' then $4 collate "C" else '' end, $3))
order by k.first, k.second, case $1 when 'name' then t.name collate "C" else '' end, t.slug
limit $7
""").replace(":z", str(Z))

PAIRS = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from {cards}.pairs p
join {cards}.tools l on l.tool = p.left_tool and l.listed
join {cards}.tools r on r.tool = p.right_tool and r.listed
where $1::bigint is null or p.position < $1
order by p.position desc
limit $2
""")

# The pairs with the most votes and the least agreement: all votes on both tools, times how close their shares are.
CONTESTED = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from {cards}.pairs p
join {cards}.tools l on l.tool = p.left_tool and l.listed
join {cards}.tools r on r.tool = p.right_tool and r.listed
join {cards}.tallies a on a.tool = p.left_tool and a.ship + a.skip > 0
join {cards}.tallies b on b.tool = p.right_tool and b.ship + b.skip > 0
order by (a.ship + a.skip + b.ship + b.skip)
         * (1 - abs(a.ship::float8 / (a.ship + a.skip) - b.ship::float8 / (b.ship + b.skip))) desc, p.position desc
limit $1
""")

PAIRS_OF = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from {cards}.pairs p
join {cards}.tools l on l.tool = p.left_tool and l.listed
join {cards}.tools r on r.tool = p.right_tool and r.listed
where $1 in (p.left_tool, p.right_tool)
order by p.position desc
limit $2
""")

ANNOUNCED = named("""
select p.left_tool, p.right_tool from {cards}.pairs p
join unnest($1::text[], $2::text[]) as w(left_tool, right_tool) using (left_tool, right_tool)
""")

CATEGORIES = named("""
select category as name, count(*) as tools from {cards}.tools where listed group by category order by category
""")

SLUGS = named("select tool, slug from {cards}.tools where tool = any($1::text[])")

REVIEWERS = named("""
select r.persona, t.category, count(*) as reviewed, count(*) filter (where r.verdict = 'ship') as shipped
from {cards}.panel r join {cards}.tools t on t.tool = r.tool and t.listed
where $1::text is null or lower(r.persona) collate "C" = $1
group by r.persona, t.category
order by r.persona collate "C", t.category
""")

PERSONA = named("""
select min(persona) from {cards}.panel where lower(persona) collate "C" = $1
""")

VERDICTS = named("""
select t.slug as tool, t.name, t.category, r.score, r.verdict, r.take, r.position
from {cards}.panel r join {cards}.tools t on t.tool = r.tool and t.listed
where lower(r.persona) collate "C" = $1 and ($2::text is null or t.category = $2) and ($3::bigint is null or r.position < $3)
order by r.position desc
limit $4
""")


async def tools(pool: "Pool[Any]", sort: Sort, category: str | None, after: Place | None, limit: int) -> Sequence[Place]:
    """Return the places of up to `limit` listed tools after a place, in an order."""
    keys = (after.slug, after.name, after.first, after.second) if after else (None, None, None, None)
    return [Place(**row) for row in await pool.fetch(TOOLS, sort, category, *keys, limit)]


async def pairs(pool: "Pool[Any]", before: int | None, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs of listed tools, newest first, announced before a position."""
    return [Pair(**row) for row in await pool.fetch(PAIRS, before, limit)]


async def contested(pool: "Pool[Any]", limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs of listed tools that have votes, the most contested first."""
    return [Pair(**row) for row in await pool.fetch(CONTESTED, limit)]


async def pairs_of(pool: "Pool[Any]", tool: str, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs with a tool, by its id, newest first."""
    return [Pair(**row) for row in await pool.fetch(PAIRS_OF, tool, limit)]


async def slugs(pool: "Pool[Any]", tools: Sequence[str]) -> dict[str, str]:
    """Return the slugs of tools by their ids, unlisted tools included."""
    rows = await pool.fetch(SLUGS, tools)
    return {row["tool"]: row["slug"] for row in rows}


async def announced(pool: "Pool[Any]", ways: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these pairs of tools' ids that are announced."""
    rows = await pool.fetch(ANNOUNCED, [left for left, _ in ways], [right for _, right in ways])
    return {(row["left_tool"], row["right_tool"]) for row in rows}


async def categories(pool: "Pool[Any]") -> list[Category]:
    """Return all categories of listed tools by name."""
    return [Category(**row) for row in await pool.fetch(CATEGORIES)]


async def reviewers(pool: "Pool[Any]", lower: str | None = None) -> list[Reviewer]:
    """Return all personas by name, or those of one lower-case name, with counts over all and by category."""
    counts: dict[str, list[CategoryCount]] = {}
    for row in await pool.fetch(REVIEWERS, lower):
        counts.setdefault(row["persona"], []).append(CategoryCount(row["category"], row["reviewed"], row["shipped"]))
    return [Reviewer(name, sum(c.reviewed for c in by), sum(c.shipped for c in by), by) for name, by in counts.items()]


async def persona(pool: "Pool[Any]", lower: str) -> str | None:
    """Return a persona's name as written, from its lower-case form; None if there is none."""
    name: str | None = await pool.fetchval(PERSONA, lower)
    return name


async def verdicts(pool: "Pool[Any]", lower: str, category: str | None, before: int | None, limit: int) -> list[PersonaVerdict]:
    """Return up to `limit` of a persona's verdicts on listed tools, last changed first."""
    return [PersonaVerdict(**row) for row in await pool.fetch(VERDICTS, lower, category, before, limit)]
