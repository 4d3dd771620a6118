"""Read who leads and what moved within a week: ranks by what votes have settled, now and then, and verdicts that changed."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from events.log.reads import Reads
from projections.registry import named
from projections.settled import CommunityVerdict

FIRST_BEFORE: Final = 100
"""Ranks of seven days ago that are known; whoever stood below is told to come from there."""
_MOST_CHANGES: Final = 1_000

# Of tools with votes in hours that are 7 days old now, but weren't when the last vote came: what those votes add to then.
_STALE = """stale as materialized (
    select h.tool, sum(h.ship)::bigint as ship, sum(h.skip)::bigint as skip
    from {hours}.hours h
    where (select b.hour from {hours}.trends_begin b) < date_trunc('hour', now(), 'UTC') - interval '7 days'
      and h.day >= (select (b.hour at time zone 'UTC')::date from {hours}.trends_begin b)
      and h.day <= ((now() - interval '7 days') at time zone 'UTC')::date
      and h.hour >= (select b.hour from {hours}.trends_begin b)
      and h.hour < date_trunc('hour', now(), 'UTC') - interval '7 days'
    group by h.tool
)"""

# One statement with a category and one without, because each order has its index.
_LEADERS = named(
    """
with :stale,
before as materialized (
    select o.tool, row_number() over (order by o.place, o.slug) as rank
    from (
        (select t.tool, t.slug, log.settled_place(t.before_ship, t.before_skip) as place
         from {hours}.trends t
         where t.listed and t.before_ship + t.before_skip > 0 and t.tool not in (select s.tool from stale s) :category
         order by log.settled_place(t.before_ship, t.before_skip), t.slug
         limit $4)
        union all
        select t.tool, t.slug, log.settled_place(t.before_ship + s.ship, t.before_skip + s.skip)
        from stale s
        cross join lateral (
            select x.tool, x.slug, x.category, x.before_ship, x.before_skip
            from {hours}.trends x where x.tool = s.tool and x.listed
            offset 0 -- keeps this a look-up of each tool
        ) t
        where t.before_ship + s.ship + t.before_skip + s.skip > 0 :category
    ) o
    order by o.place, o.slug
    limit $4
)
select n.tool, n.slug, n.place, b.rank as rank_before,
       (coalesce(t.before_ship, 0) + coalesce(s.ship, 0))::bigint as ship,
       (coalesce(t.before_skip, 0) + coalesce(s.skip, 0))::bigint as skip
from (
    select t.tool, t.slug, log.settled_place(t.ship, t.skip) as place
    from {cards}.tallies t
    where t.listed and (log.settled_place(t.ship, t.skip), t.slug) > ($1::float8, $2)
      and log.settled_place(t.ship, t.skip) < 1 :category
    order by log.settled_place(t.ship, t.skip), t.slug
    limit $3
) n
left join before b on b.tool = n.tool
left join lateral (
    select x.before_ship, x.before_skip from {hours}.trends x where x.tool = n.tool
    offset 0 -- keeps this a look-up of each tool
) t on true
left join stale s on s.tool = n.tool
order by n.place, n.slug
""".replace(":stale", _STALE)
)
LEADERS: Final = _LEADERS.replace(":category", "")
LEADERS_IN: Final = _LEADERS.replace(":category", "and t.category = $5")

# Of the last changes of verdicts in 7 days, the tools whose verdict now is another than before the first of them.
MOVED: Final = named("""
select t.slug, t.name, f.kind, f.before, case f.kind when 'settled' then s.settled else s.community end as after, f.position
from (
    select v.tool, v.kind, (array_agg(v.before order by v.position))[1] as before, max(v.position) as position
    from (
        select o.tool, o.kind, o.before, o.position from {verdicts}.verdicts o
        where o.position > log.position_at(now() - interval '7 days') and o.listed and o.kind in ('community', 'settled')
        order by o.position desc
        limit $2
    ) v
    group by v.tool, v.kind
    order by max(v.position) desc, v.kind desc -- so that the look-ups below end with the last row that is shown
) f
cross join lateral (select x.community, x.settled from {verdicts}.standings x where x.tool = f.tool offset 0) s
cross join lateral (select x.slug, x.name from {cards}.places x where x.tool = f.tool and x.listed offset 0) t
where f.before is distinct from case f.kind when 'settled' then s.settled else s.community end
order by f.position desc, f.kind desc
limit $1
""")

NEWEST: Final = named("""
select t.slug
from (select s.tool, s.added from {verdicts}.standings s where s.added > 0 and s.listed order by s.added desc limit $1) n
join {cards}.places t on t.tool = n.tool and t.listed
order by n.added desc
""")


class Leader(msgspec.Struct, frozen=True):
    """A tool on the leaderboard: its place by the settled bound, its rank, and rank and tally seven days ago.

    `rank_before` is None for a tool that had no votes then, or stood below the first 100.
    """

    slug: str
    place: float
    rank: int
    rank_before: int | None
    ship_before: int
    skip_before: int


class Place(msgspec.Struct, frozen=True):
    """Where a list of leaders goes on."""

    place: float
    slug: str
    rank: int


class Moved(msgspec.Struct, frozen=True):
    """A tool whose verdict changed within seven days, and from what to what; `position` is that of the last change.

    `kind` is "settled", or "community" for what a single look says.
    """

    slug: str
    name: str
    kind: Literal["community", "settled"]
    before: CommunityVerdict | None
    after: CommunityVerdict | None
    position: int


_BEGINNING: Final = Place(float("-inf"), "", 0)


async def leaders(pool: Reads, category: str | None, limit: int, after: Place | None = None) -> Sequence[Leader]:
    """Return up to `limit` tools with votes by the lower end of their settled interval, of all or of a category."""
    begin = after or _BEGINNING
    arguments = (begin.place, begin.slug, limit, FIRST_BEFORE)
    rows = await (pool.fetch(LEADERS, *arguments) if category is None else pool.fetch(LEADERS_IN, *arguments, category))
    return [
        Leader(row["slug"], row["place"], rank, row["rank_before"], row["ship"], row["skip"])
        for rank, row in enumerate(rows, begin.rank + 1)
    ]


async def moved_this_week(pool: Reads, limit: int) -> Sequence[Moved]:
    """Return up to `limit` verdicts of the community that are others than seven days ago, the last changed first."""
    return [Moved(**row) for row in await pool.fetch(MOVED, limit, _MOST_CHANGES)]


def once(moved: Sequence[Moved]) -> list[Moved]:
    """Return each tool's change once: that of its settled verdict, where both of its verdicts changed."""
    settled = {one.slug for one in moved if one.kind == "settled"}
    return [one for one in moved if one.kind == "settled" or one.slug not in settled]


async def newest_tools(pool: Reads, limit: int) -> Sequence[str]:
    """Return the slugs of up to `limit` listed tools, the last added first."""
    return [row["slug"] for row in await pool.fetch(NEWEST, limit)]
