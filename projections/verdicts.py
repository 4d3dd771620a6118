"""Read when verdicts came and changed, and when tools did."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from events.log.reads import Reads
from projections.cards import PanelVerdict
from projections.registry import named

Kind = Literal["panel", "settled"]


class VerdictChange(msgspec.Struct, frozen=True):
    """A verdict that came, changed or went, with the tool as it is now; `before` and `after` are None for no verdict."""

    tool: str
    slug: str
    name: str
    category: str
    kind: Kind
    before: PanelVerdict | None
    after: PanelVerdict | None
    position: int
    recorded_at: datetime


# What a single look says changes too often to be told. One statement with a category and one without, each with its index:
# their orders are spelled apart, else the planner would read one category's changes from among all.
_NEWEST = named("""
select v.tool, t.slug, t.name, v.category, v.kind, v.before, v.after, v.position, v.recorded_at
from {verdicts}.verdicts v join {cards}.tools t on t.tool = v.tool and t.listed
where v.listed and v.kind <> 'community' :category
order by v.position desc
limit $1
""")
NEWEST: Final = _NEWEST.replace(":category", "")
NEWEST_IN: Final = _NEWEST.replace(":category", "and v.category = $2").replace("v.position desc", "-v.position")


async def newest(pool: Reads, category: str | None, limit: int) -> Sequence[VerdictChange]:
    """Return the newest `limit` changes of panel and settled verdicts on listed tools, newest first."""
    if category is None:
        rows = await pool.fetch(NEWEST, limit)
    else:
        rows = await pool.fetch(NEWEST_IN, limit, category)
    return [VerdictChange(**row) for row in rows]


class Part(msgspec.Struct, frozen=True):
    """A part of a list that only grows at its end: the position of its first item, and when one of them last changed."""

    first: int
    changed_at: datetime


# Tools in the order they were added, and pairs as they were announced: parts never move when others come. One that would name
# nothing is left out.
TOOL_PARTS = named("""
select min(n.added) as first, max(n.changed_at) as changed_at
from (
    select s.added, s.changed_at, s.listed, row_number() over (order by s.added) - 1 as n
    from {verdicts}.standings s where s.added > 0
) n
group by n.n / $1::integer
having bool_or(n.listed)
order by 1
""")

PAIR_PARTS = named("""
select min(n.position) as first, max(greatest(n.at, l.changed_at, r.changed_at)) as changed_at
from (
    select p.left_tool, p.right_tool, p.position, row_number() over (order by p.position) - 1 as n,
           log.time_of(p.position) as at
    from {cards}.pairs p
) n
join {verdicts}.standings l on l.tool = n.left_tool
join {verdicts}.standings r on r.tool = n.right_tool
group by n.n / $1::integer
having bool_or(l.listed and r.listed)
order by 1
""")

BEGINS_TOOL_PART = named("select count(*) % $2::integer = 0 from {verdicts}.standings s where s.added > 0 and s.added < $1")

BEGINS_PAIR_PART = named("select count(*) % $2::integer = 0 from {cards}.pairs p where p.position < $1")

# What these three read: the name of a tool or of a pair in its page's address, and when it last changed.
TOOLS_OF_PART = named("""
select t.slug as name, s.changed_at
from (select n.tool, n.added, n.changed_at from {verdicts}.standings n where n.added >= $1 order by n.added limit $2) s
join {cards}.tools t on t.tool = s.tool and t.listed
order by s.added
""")

PAIRS_OF_PART = named("""
select l.slug || '-vs-' || r.slug as name, greatest(a.changed_at, b.changed_at) as changed_at
from (select n.* from {cards}.pairs n where n.position >= $1 order by n.position limit $2) p
join {cards}.tools l on l.tool = p.left_tool and l.listed
join {cards}.tools r on r.tool = p.right_tool and r.listed
join {verdicts}.standings a on a.tool = p.left_tool
join {verdicts}.standings b on b.tool = p.right_tool
order by p.position
""")

# Pairs that readers put together: by the newest $1 events, but for archived ones, and as many that are no ballots, those both
# of which at least $3 visitors voted on or bookmarked. Who did so with more than $2 tools says little of each pair, and is left
# out. The floor of visitors keeps what one reader did out of a public list. Announced pairs are listed by themselves.
TOGETHER = named("""
with acts as materialized (
    select e.data->>'voter' as visitor, e.data->>'tool' as tool
    from log.head h
    cross join (select coalesce(max(a.last_position), 0) as position from log.archives a where a.state = 'packed') p
    cross join lateral log.taken(greatest(h.position - $1, p.position), h.position, '{}', array['VoteCast']) e
    union
    select o.data->>'visitor', o.data->>'tool'
    from log.newest_others($1) o
    where o.type = 'ToolBookmarked'
),
few as (select a.visitor from acts a group by a.visitor having count(*) between 2 and $2),
pairs as (
    select a.tool as one, b.tool as other, count(*) as visitors
    from few f join acts a on a.visitor = f.visitor join acts b on b.visitor = f.visitor and b.tool > a.tool
    group by a.tool, b.tool
    having count(*) >= $3
    order by 3 desc, 1, 2
    limit $4
)
select case when l.slug < r.slug then l.slug || '-vs-' || r.slug else r.slug || '-vs-' || l.slug end as name,
       greatest(a.changed_at, b.changed_at) as changed_at
from pairs p
join {cards}.tools l on l.tool = p.one and l.listed
join {cards}.tools r on r.tool = p.other and r.listed
join {verdicts}.standings a on a.tool = p.one
join {verdicts}.standings b on b.tool = p.other
where not exists (select from {cards}.pairs k where (k.left_tool, k.right_tool) in ((p.one, p.other), (p.other, p.one)))
order by 1
""")


async def parts(pool: Reads, statement: str, size: int) -> Sequence[Part]:
    """Return the parts of TOOL_PARTS or PAIR_PARTS, `size` items each but the last."""
    return [Part(**row) for row in await pool.fetch(statement, size)]


async def begins_part(pool: Reads, statement: str, first: int, size: int) -> bool:
    """Tell by BEGINS_TOOL_PART or BEGINS_PAIR_PART whether a part begins at a position."""
    begins: bool = await pool.fetchval(statement, first, size)
    return begins


async def changed(pool: Reads, statement: str, *arguments: int) -> Sequence[tuple[str, datetime]]:
    """Return what TOOLS_OF_PART, PAIRS_OF_PART or TOGETHER reads."""
    return [(row[0], row[1]) for row in await pool.fetch(statement, *arguments)]
