"""Read lists from the cards: tools in every order, announced pairs, categories, reviewers. All page by keyset."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from events.catalog import Persona, Verdict, undescribed
from events.log.reads import Reads
from projections.registry import named

Sort = Literal["name", "community", "settled", "panel", "trending"]


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
    """The number of listed tools that a persona reviewed and shipped, and how it is described."""

    persona: str
    reviewed: int
    shipped: int
    categories: list[CategoryCount]
    role: str | None
    phrase: str | None
    profile: str | None
    excited_by: tuple[str, ...]
    tired_of: tuple[str, ...]


class PersonaVerdict(msgspec.Struct, frozen=True):
    """A persona's judgement of one tool; `position` is that of its last change."""

    tool: str
    name: str
    category: str
    score: int | None
    verdict: Verdict
    take: str
    position: int


class _Order(msgspec.Struct, frozen=True):
    """An order: the statement that reads it, and the keys of a place that it goes by."""

    statement: str
    keys: Callable[[Place], tuple[object, ...]]

    def page(self, category: str | None, after: Place | None, limit: int) -> tuple[str, tuple[object, ...]]:
        """Return the statement for a page after a place, and its arguments."""
        arguments = (*self.keys(after or _BEGINNING), limit)
        if category is None:
            return self.statement.replace(":category", ""), arguments
        return self.statement.replace(":category", f"and t.category = ${len(arguments) + 1}"), (*arguments, category)


_BEGINNING = Place("", "", float("-inf"), float("-inf"))

# Each order has keys that rise and an index on them, so that one comparison of rows finds any page in it. Statements with and
# without a category are two, because each has an index of its own.
_BY_NAME = named("""
select t.slug, t.name, 0::float8 as first, 0::float8 as second
from {cards}.places t
where t.listed and (t.name, t.slug) > ($1, $2) :category
order by t.name, t.slug
limit $3
""")

# By the lower Wilson bound, tools without votes last.
_BY_COMMUNITY = named("""
select t.slug, '' as name, log.community_place(t.ship, t.skip) as first, 0::float8 as second
from {cards}.tallies t
where t.listed and (log.community_place(t.ship, t.skip), t.slug) > ($1::float8, $2) :category
order by log.community_place(t.ship, t.skip), t.slug
limit $3
""")

# By the lower end of the settled interval, tools without votes last.
_BY_SETTLED = _BY_COMMUNITY.replace("log.community_place", "log.settled_place")

# By the panel's percent, then its number of reviews.
_BY_PANEL = named("""
select t.slug, '' as name, t.panel_first::float8 as first, t.panel_second::float8 as second
from {cards}.places t
where t.listed and (t.panel_first, t.panel_second, t.slug) > ($1::integer, $2::integer, $3) :category
order by t.panel_first, t.panel_second, t.slug
limit $4
""")

# By the net votes of the hours since 7 days before this hour. The view has those since 7 days before its last vote: nearly
# always the same. Else the tools that had votes in the hours between are placed anew.
_BY_TREND = named("""
with stale as materialized (
    select h.tool, sum(h.ship - h.skip)::bigint as net
    from {hours}.hours h
    where (select b.hour from {hours}.trends_begin b) < date_trunc('hour', now(), 'UTC') - interval '7 days'
      and h.day >= (select (b.hour at time zone 'UTC')::date from {hours}.trends_begin b)
      and h.day <= ((now() - interval '7 days') at time zone 'UTC')::date
      and h.hour >= (select b.hour from {hours}.trends_begin b)
      and h.hour < date_trunc('hour', now(), 'UTC') - interval '7 days'
    group by h.tool
)
select p.slug, '' as name, p.first::float8 as first, 0::float8 as second
from (
    (select t.slug, -t.net as first
     from {hours}.trends t
     where t.listed and (-t.net, t.slug) > ($1::bigint, $2) and t.tool not in (select s.tool from stale s) :category
     order by -t.net, t.slug
     limit $3)
    union all
    select t.slug, s.net - t.net
    from stale s
    cross join lateral (
        select x.slug, x.category, x.net from {hours}.trends x where x.tool = s.tool and x.listed
        offset 0 -- keeps this a look-up of each tool
    ) t
    where (s.net - t.net, t.slug) > ($1::bigint, $2) :category
) p
order by p.first, p.slug
limit $3
""")

ORDERS: Final[Mapping[Sort, _Order]] = {
    "name": _Order(_BY_NAME, lambda after: (after.name, after.slug)),
    "community": _Order(_BY_COMMUNITY, lambda after: (after.first, after.slug)),
    "settled": _Order(_BY_SETTLED, lambda after: (after.first, after.slug)),
    "panel": _Order(_BY_PANEL, lambda after: (_whole(after.first, 31), _whole(after.second, 31), after.slug)),
    "trending": _Order(_BY_TREND, lambda after: (_whole(after.first, 63), after.slug)),
}


def _whole(key: float, bits: int) -> int:
    """Return a key of a place as the integer that it is in the tables; minus infinity is the least of so many bits."""
    return -(2**bits) if key == float("-inf") else int(key)


PAIRS = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from {cards}.pairs p
join {cards}.tools l on l.tool = p.left_tool and l.listed
join {cards}.tools r on r.tool = p.right_tool and r.listed
where p.position < coalesce($1::bigint, 9223372036854775807)
order by p.position desc
limit $2
""")

# Of the last 200 announced pairs, those with the most votes and the least agreement: all votes on both tools, times how close
# their shares are.
CONTESTED = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from (
    select o.left_tool, o.right_tool, o.position,
           (a.ship + a.skip + b.ship + b.skip)
           * (1 - abs(a.ship::float8 / (a.ship + a.skip) - b.ship::float8 / (b.ship + b.skip))) as contest
    from (select n.* from {cards}.pairs n order by n.position desc limit 200) o
    join {cards}.tallies a on a.tool = o.left_tool and a.listed and a.ship + a.skip > 0
    join {cards}.tallies b on b.tool = o.right_tool and b.listed and b.ship + b.skip > 0
    order by contest desc, o.position desc
    limit $1
) p
join {cards}.places l on l.tool = p.left_tool
join {cards}.places r on r.tool = p.right_tool
order by p.contest desc, p.position desc
""")

PAIRS_OF = named("""
select l.slug as left, r.slug as right, l.name as left_name, r.name as right_name, p.position
from (
    (select o.* from {cards}.pairs o join {cards}.places t on t.tool = o.right_tool and t.listed
     where o.left_tool = $1 order by o.position desc limit $2)
    union all
    (select o.* from {cards}.pairs o join {cards}.places t on t.tool = o.left_tool and t.listed
     where o.right_tool = $1 order by o.position desc limit $2)
) p
join {cards}.places l on l.tool = p.left_tool and l.listed
join {cards}.places r on r.tool = p.right_tool and r.listed
order by p.position desc
limit $2
""")

ANNOUNCED = named("""
select p.left_tool, p.right_tool from {cards}.pairs p
join unnest($1::text[], $2::text[]) as w(left_tool, right_tool) using (left_tool, right_tool)
""")

CATEGORIES = named("select category as name, tools from {cards}.categories order by category")

SLUGS = named("select tool, slug from {cards}.tools where tool = any($1::text[])")

REVIEWERS = named("""
select persona, category, reviewed, shipped from {cards}.reviewers
where $1::text is null or lower(persona) collate "C" = $1
order by persona, category
""")

PERSONAS = named("""
select persona, role, phrase, profile, excited_by, tired_of from {cards}.personas
where $1::text is null or lower = $1
order by persona
""")

PERSONA_NAMES = named("select persona from {cards}.reviewers union select persona from {cards}.personas")

PERSONA = named("""
select coalesce(
    (select p.persona from {cards}.panel p where lower(p.persona) collate "C" = $1 order by p.persona limit 1),
    (select d.persona from {cards}.personas d where d.lower = $1)
)
""")

# Like the orders above, one statement with a category and one without.
_VERDICTS = named("""
select t.slug as tool, t.name, r.category, r.score, r.verdict, r.take, r.position
from {cards}.panel r join {cards}.places t on t.tool = r.tool
where r.listed and lower(r.persona) collate "C" = $1 and r.position < coalesce($2::bigint, 9223372036854775807) :category
order by r.position desc
limit $3
""")
VERDICTS: Final = _VERDICTS.replace(":category", "")
VERDICTS_IN: Final = _VERDICTS.replace(":category", "and r.category = $4")


async def tools(pool: Reads, sort: Sort, category: str | None, after: Place | None, limit: int) -> Sequence[Place]:
    """Return the places of up to `limit` listed tools after a place, in an order."""
    statement, arguments = ORDERS[sort].page(category, after, limit)
    return [Place(**row) for row in await pool.fetch(statement, *arguments)]


async def pairs(pool: Reads, before: int | None, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs of listed tools, newest first, announced before a position."""
    return [Pair(**row) for row in await pool.fetch(PAIRS, before, limit)]


async def contested(pool: Reads, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs of listed tools that have votes, the most contested first."""
    return [Pair(**row) for row in await pool.fetch(CONTESTED, limit)]


async def pairs_of(pool: Reads, tool: str, limit: int) -> Sequence[Pair]:
    """Return up to `limit` announced pairs with a tool, by its id, newest first."""
    return [Pair(**row) for row in await pool.fetch(PAIRS_OF, tool, limit)]


async def slugs(pool: Reads, tools: Sequence[str]) -> dict[str, str]:
    """Return the slugs of tools by their ids, unlisted tools included."""
    rows = await pool.fetch(SLUGS, tools)
    return {row["tool"]: row["slug"] for row in rows}


async def announced(pool: Reads, ways: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these pairs of tools' ids that are announced."""
    rows = await pool.fetch(ANNOUNCED, [left for left, _ in ways], [right for _, right in ways])
    return {(row["left_tool"], row["right_tool"]) for row in rows}


async def categories(pool: Reads) -> list[Category]:
    """Return all categories of listed tools by name."""
    return [Category(**row) for row in await pool.fetch(CATEGORIES)]


async def personas(pool: Reads, lower: str | None = None) -> list[Persona]:
    """Return the personas that are described by name, or the one of a lower-case name."""
    rows = await pool.fetch(PERSONAS, lower)
    return [Persona(**{**row, "excited_by": tuple(row["excited_by"]), "tired_of": tuple(row["tired_of"])}) for row in rows]


async def reviewers(pool: Reads, lower: str | None = None) -> list[Reviewer]:
    """Return all personas by name, or those of one lower-case name, with counts over all and by category.

    One that is described and judged nothing yet is among them.
    """
    counts: dict[str, list[CategoryCount]] = {}
    for row in await pool.fetch(REVIEWERS, lower):
        counts.setdefault(row["persona"], []).append(CategoryCount(row["category"], row["reviewed"], row["shipped"]))
    described = {one.persona.lower(): one for one in await personas(pool, lower)}
    judging = {name.lower() for name in counts}
    counts |= {one.persona: [] for key, one in described.items() if key not in judging}
    return [_reviewer(described.get(name.lower()) or undescribed(name), name, counts[name]) for name in sorted(counts)]


def _reviewer(described: Persona, name: str, by: list[CategoryCount]) -> Reviewer:
    told = msgspec.structs.asdict(described) | {"persona": name}
    return Reviewer(**told, reviewed=sum(c.reviewed for c in by), shipped=sum(c.shipped for c in by), categories=by)


async def persona_key(pool: Reads, name: str) -> str:
    """Return the name by which the functions here find a persona, given its name in any case.

    The tables lower A to Z alone, as every server does alike. A persona with other capitals, such as Élan, is found here.
    """
    lower = name.lower()
    if lower.isascii():
        return lower
    names = [row["persona"] for row in await pool.fetch(PERSONA_NAMES)]
    return next((one.encode().lower().decode() for one in names if one.lower() == lower), lower)


async def persona(pool: Reads, lower: str) -> str | None:
    """Return a persona's name as written, from its lower-case form; None if there is none."""
    name: str | None = await pool.fetchval(PERSONA, lower)
    return name


async def verdicts(pool: Reads, lower: str, category: str | None, before: int | None, limit: int) -> list[PersonaVerdict]:
    """Return up to `limit` of a persona's verdicts on listed tools, last changed first."""
    if category is None:
        rows = await pool.fetch(VERDICTS, lower, before, limit)
    else:
        rows = await pool.fetch(VERDICTS_IN, lower, before, limit, category)
    return [PersonaVerdict(**row) for row in rows]
