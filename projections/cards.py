"""Read cards: each tool as its page shows it."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Literal

import msgspec
from asyncpg import Connection
from msgspec import UNSET, UnsetType

from events.catalog import Tier, Verdict
from events.log.history import Mark, place
from events.log.reads import Reads
from projections.registry import named
from projections.tally import Community, Tally, community, percent

PanelVerdict = Literal["ship", "skip", "mixed"]


class Pricing(msgspec.Struct, frozen=True):
    """A tool's price: its tier, and a label in words."""

    tier: Tier
    label: str


class PanelReview(msgspec.Struct, frozen=True):
    """One persona's judgement of a tool; `score` is 0–100."""

    persona: str
    score: int | None
    verdict: Verdict
    take: str


class Panel(msgspec.Struct, frozen=True):
    """The panel's judgements in the order of their first publication, counted."""

    verdict: PanelVerdict | None
    ship: int
    skip: int
    ship_percent: int | None
    reviews: tuple[PanelReview, ...]


class UnderReview(msgspec.Struct, frozen=True):
    """Days, in UTC, whose votes may be bought: nobody has decided yet."""

    from_: date = msgspec.field(name="from")
    to: date


class Card(msgspec.Struct, frozen=True):
    """A tool, its panel and its tally; `position` is that of the last event that changed any of them.

    `reviewed` is the day that the panel's reviews are of, `successor` the slug of the tool that took its place, if listed.
    `under_review` are the days whose votes may yet be taken out, which would change the settled verdict; left out without any.
    """

    slug: str
    name: str
    tagline: str
    description: str
    category: str
    pricing: Pricing
    best_for: str
    url: str | None
    reviewed: date | None
    disclosure: str | None
    successor: str | None
    panel: Panel
    community: Community
    position: int
    under_review: tuple[UnderReview, ...] | UnsetType = UNSET


class Loaded(msgspec.Struct, frozen=True):
    """A card with its tool's id."""

    tool: str
    card: Card


class TallyRow(msgspec.Struct, frozen=True, gc=False):
    """A tool's tally and the last event that changed it."""

    tool: str
    ship: int
    skip: int
    position: int


class State(msgspec.Struct, frozen=True):
    """The rebuild that made the tables (`generation`), their checkpoint with its mark, and the number of the log's rewinds."""

    generation: str
    position: int
    rewinds: int = 0
    mark: Mark | None = None

    def continues(self, earlier: "State") -> bool:
        """Return whether cards of an earlier state are still right, but for the changes since."""
        same = (self.generation, self.rewinds) == (earlier.generation, earlier.rewinds)
        return same and self.position >= earlier.position


class Changes(msgspec.Struct, frozen=True):
    """Changes after a state: tallies, and ids of tools changed in anything else.

    Not `whole` if more changed than was read; `holds` if the log has the state's mark.
    """

    state: State
    holds: bool
    tallies: Sequence[TallyRow]
    tools: Sequence[str]
    whole: bool


# One statement, so one snapshot: the cards are as of the checkpoint.
LOAD = named("""
select c.generation, c.position as as_of, c.seen_position, c.seen_at, c.seen_stream,
       (select count(*) from log.rewinds) as rewinds,
       t.tool, t.slug, t.name, t.tagline, t.description, t.category, t.pricing_tier,
       t.pricing_label, t.best_for, t.url, t.reviewed, t.disclosure, s.slug as successor,
       coalesce(y.ship, 0) as ship, coalesce(y.skip, 0) as skip,
       greatest(t.position, p.position, y.position) as position, coalesce(p.reviews, '[]') as reviews
from {cards}.checkpoint c
left join {cards}.tools t on t.slug = any($1::text[]) and t.listed
left join {cards}.tools s on s.tool = t.successor and s.listed
left join {cards}.tallies y on y.tool = t.tool
left join lateral (
    select jsonb_agg(jsonb_build_array(r.persona, r.score, r.verdict, r.take) order by r.first_position) as reviews,
           max(r.position) as position
    from {cards}.panel r where r.tool = t.tool
) p on true
""")

# Of another generation than $2, nothing but the state is read: all that is known of it is out of date. In order, changes
# are read from indexes, though the plan is made for any $1. The mark is asked for once, not for each change.
CHANGES = named("""
select c.generation, c.position as as_of, c.seen_position, c.seen_at, c.seen_stream,
       (select count(*) from log.rewinds) as rewinds, (select log.holds($4, $5, $6)) as holds,
       d.number, d.tallied, d.ships, d.skips, d.positions, d.tools
from {cards}.checkpoint c
left join lateral (
    select count(*) as number,
           array_agg(m.tool) filter (where m.is_tally) as tallied, array_agg(m.ship) filter (where m.is_tally) as ships,
           array_agg(m.skip) filter (where m.is_tally) as skips, array_agg(m.position) filter (where m.is_tally) as positions,
           array_agg(m.tool) filter (where not m.is_tally) as tools
    from (
        (
            select true as is_tally, y.tool, y.ship, y.skip, y.position
            from {cards}.tallies y where y.position > $1 and c.generation = $2
            order by y.position limit $3
        )
        union all (
            select false, t.tool, null, null, t.position from {cards}.tools t where t.position > $1 and c.generation = $2
            order by t.position limit $3
        )
        union all (
            select false, r.tool, null, null, r.position from {cards}.panel r where r.position > $1 and c.generation = $2
            order by r.position limit $3
        )
        limit $3
    ) m
) d on c.position > $1
""")

# Tallies at the head of the log, exact under its lock: the projection's, and the changes after its checkpoint.
TALLIES_AT_HEAD = named("""
select d.tool, sum(d.ship)::bigint as ship, sum(d.skip)::bigint as skip
from (
    select y.tool, y.ship, y.skip from {cards}.tallies y where y.tool = any($1::text[])
    union all
    select t.tool, (t.plus is not distinct from 'ship')::integer - (t.minus is not distinct from 'ship')::integer,
           (t.plus is not distinct from 'skip')::integer - (t.minus is not distinct from 'skip')::integer
    from {cards}.checkpoint c cross join log.head h cross join lateral log.changes_taken(c.position, h.position) t
    where t.tool = any($1::text[])
) d
group by d.tool
""")

LISTED_TALLIES = named("""
select t.slug, coalesce(y.ship, 0) as ship, coalesce(y.skip, 0) as skip
from {cards}.tools t left join {cards}.tallies y on y.tool = t.tool where t.listed
""")

# The present slugs of listed tools, by former ones.
MOVED = named("""
select f.slug as former, t.slug from {cards}.former_slugs f join {cards}.tools t on t.tool = f.tool and t.listed
where f.slug = any($1::text[])
""")

_reviews = msgspec.json.Decoder(list[tuple[str, int | None, Verdict, str]])


def panel(reviews: Iterable[tuple[str, int | None, Verdict, str]]) -> Panel:
    """Return the panel of these judgements; its verdict is `ship` above 50 %, `skip` below, `mixed` at exactly 50 %."""
    judged = tuple(PanelReview(*review) for review in reviews)
    ship = sum(review.verdict == "ship" for review in judged)
    skip = len(judged) - ship
    verdict: PanelVerdict | None = "ship" if ship > skip else "skip" if ship < skip else "mixed" if judged else None
    return Panel(verdict, ship, skip, percent(ship, len(judged)), judged)


def _state(row: Any) -> State:
    mark = None if row["seen_at"] is None else Mark(row["seen_position"], row["seen_at"], row["seen_stream"])
    return State(row["generation"], row["as_of"], row["rewinds"], mark)


def _loaded(row: Any) -> Loaded:
    card = Card(
        slug=row["slug"],
        name=row["name"],
        tagline=row["tagline"],
        description=row["description"],
        category=row["category"],
        pricing=Pricing(row["pricing_tier"], row["pricing_label"]),
        best_for=row["best_for"],
        url=row["url"],
        reviewed=row["reviewed"],
        disclosure=row["disclosure"],
        successor=row["successor"],
        panel=panel(_reviews.decode(row["reviews"])),
        community=community(row["ship"], row["skip"]),
        position=row["position"],
    )
    return Loaded(row["tool"], card)


async def load(pool: Reads, slugs: Sequence[str]) -> tuple[State, list[Loaded]]:
    """Read the cards of the listed tools among these slugs, and the state they are as of."""
    rows = await pool.fetch(LOAD, slugs)
    return _state(rows[0]), [_loaded(row) for row in rows if row["tool"] is not None]


async def moved(pool: Reads, slugs: Sequence[str]) -> dict[str, str]:
    """Return the present slugs of the listed tools that had some of these before, by those."""
    return {row["former"]: row["slug"] for row in await pool.fetch(MOVED, slugs)}


async def changes(pool: Reads, since: State, most: int) -> Changes:
    """Read the changes after a state, up to `most` of them."""
    (row,) = await pool.fetch(CHANGES, since.position, since.generation, most + 1, *place(since.mark))
    state = _state(row)
    return Changes(
        state=state,
        holds=row["holds"],
        tallies=[*map(TallyRow, *(row[column] or () for column in ("tallied", "ships", "skips", "positions")))],
        tools=row["tools"] or (),
        whole=state.generation == since.generation and (row["number"] or 0) <= most,
    )


async def tallies_at_head(connection: "Connection[Any]", tools: Sequence[str]) -> dict[str, Tally]:
    """Return the tallies of tools, by id, at the head of the log; exact while the caller holds the head's lock."""
    return {row["tool"]: (row["ship"], row["skip"]) for row in await connection.fetch(TALLIES_AT_HEAD, tools)}


async def listed_tallies(connection: "Connection[Any]") -> dict[str, Tally]:
    """Return every listed tool's tally by slug."""
    return {row["slug"]: (row["ship"], row["skip"]) for row in await connection.fetch(LISTED_TALLIES)}
