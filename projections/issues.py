"""The content of an issue: facts of the log between two positions, read from the views as they stood at the second.

The same log gives the same content, byte for byte: it holds no reader's text, only ids of what is opened when a mail or page
is rendered.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from asyncpg import Connection
from msgspec import UNSET, UnsetType

from events.registry import REGISTRY
from projections.engine import snapshot, window
from projections.registry import SHOWN
from projections.settled import CommunityVerdict, settled
from projections.tally import percent, verdict_of_a_look

Tally = tuple[int, int]
Verdict = Callable[[int, int], CommunityVerdict | None]
Held = Callable[["Connection[Any]", int], Awaitable[Collection[str]]]
"""Returns the tools, by id, of which no verdict may be told at a position: votes that it rests on are still being checked."""
CARDS: Final = next(projection for projection in SHOWN if projection.name == "cards")
MOST_KEPT: Final = 50
"""Items of each sort that are kept, so that each choice of categories finds its own among them."""
FEWEST_VOTES: Final = 5
"""Tools with fewer votes are left out of movers and close calls."""


class ToolFact(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the issue tells of it: `panel` and `community` are (ship, skip); `before` is the community's a period ago.

    Of one that is `held` no verdict is told: votes that it rests on are still being checked.
    """

    tool: str
    slug: str
    name: str
    category: str
    tagline: str
    panel: Tally
    community: Tally
    before: Tally
    votes: int = 0
    panel_spoke: bool = False
    held: Literal[True] | UnsetType = UNSET


class PairFact(msgspec.Struct, frozen=True, kw_only=True):
    """An announced pair."""

    slug: str
    title: str
    categories: tuple[str, ...]


class ReviewFact(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's review, by its id alone, and the tool it is about."""

    review: str
    slug: str
    name: str
    category: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of an issue; `changes` are of every tool something happened to, for those who bookmarked it.

    An issue that was compiled when there were no settled verdicts lacks `newly_settled`, and goes by those of a single look.
    """

    newly_settled: tuple[ToolFact, ...] | UnsetType = UNSET
    new_comparisons: tuple[PairFact, ...] = ()
    new_tools: tuple[ToolFact, ...] = ()
    movers: tuple[ToolFact, ...] = ()
    closest: tuple[ToolFact, ...] = ()
    disagreements: tuple[ToolFact, ...] = ()
    reviews: tuple[ReviewFact, ...] = ()
    changes: tuple[ToolFact, ...] = ()

    @property
    def by_settled(self) -> bool:
        """Whether the issue's verdicts are settled ones."""
        return self.newly_settled is not UNSET

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to say to everybody."""
        return not (self.new_comparisons or self.categories)

    @property
    def categories(self) -> set[str]:
        """The categories that the issue has something of."""
        tools = (self.newly_settled or (), self.new_tools, self.movers, self.closest, self.disagreements, self.reviews)
        named = {item.category for items in tools for item in items}
        return named | {category for pair in self.new_comparisons for category in pair.categories}


def encode_content(content: Content) -> tuple[str, bytes]:
    """Return the content's JSON and its SHA-256."""
    raw = msgspec.json.encode(content)
    return raw.decode(), sha256(raw).digest()


decode_content = msgspec.json.Decoder(Content).decode

# Unqualified names are the views', in whichever schemas the search_path names: live ones, or those of a proof.
TOOLS = """
select t.tool, t.slug, t.name, t.category, t.tagline, coalesce(y.ship, 0) as ship, coalesce(y.skip, 0) as skip,
       coalesce(p.ship, 0) as panel_ship, coalesce(p.skip, 0) as panel_skip, coalesce(p.position > $1, false) as panel_spoke
from tools t
left join tallies y on y.tool = t.tool
left join (
    select r.tool, count(*) filter (where r.verdict = 'ship') as ship, count(*) filter (where r.verdict = 'skip') as skip,
           max(r.position) as position
    from panel r group by r.tool
) p on p.tool = t.tool
where t.listed
order by t.slug
"""
NEW_TOOLS = """
select e.data->>'tool' as tool from log.taken($1, $2, $3, '{ToolAdded}') e
order by e.position desc
"""
# What the votes of the period changed, without those of voters who are disqualified at its end: what they cast before the
# period is not in the tally either.
DELTAS = """
select t.tool, count(*) as votes,
       count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
       count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
from log.changes_taken($1, $2, $3) t
where t.type in ('VoteCast', 'VoteRetracted')
  and not exists (select from disqualified d where d.voter = t.voter)
group by t.tool
"""
# Of the whole log, that is what the tallies are, and no vote need be read.
ALL = "select y.tool, y.ship + y.skip as votes, y.ship, y.skip from tallies y where y.ship + y.skip > 0"
PAIRS = """
select l.slug || '-vs-' || r.slug as slug, l.name || ' vs ' || r.name as title, l.category as left_category,
       r.category as right_category
from pairs p join tools l on l.tool = p.left_tool join tools r on r.tool = p.right_tool
where p.position > $1 and l.listed and r.listed
order by p.position desc limit $2
"""
REVIEWS = """
select r.review, r.tool from reviews r
where r.public_position > $1 and not exists (select from disqualified d where d.voter = r.visitor)
order by r.public_score desc nulls last, r.public_position limit $2
"""


async def compile_content(dsn: str, start: int, held: Held) -> tuple[int, Content]:
    """Return the cut-off and content of an issue that begins after `start` and ends now. Raises ViewsHalted."""
    async with snapshot.live(dsn, SHOWN, REGISTRY) as (connection, end):
        return end, await read(connection, start, end, await held(connection, end))


async def compile_afresh(
    connection: "Connection[Any]", start: int, end: int, held: Collection[str], *, by_settled: bool
) -> Content:
    """Return the content of the period `(start, end]` from views folded for it alone, which the caller rolls back."""
    await snapshot.fold_afresh(connection, SHOWN, REGISTRY, end)
    return await read(connection, start, end, held, by_settled=by_settled)


async def read(
    connection: "Connection[Any]", start: int, end: int, held: Collection[str], *, by_settled: bool = True
) -> Content:
    """Read the content of the period `(start, end]` from views that stand at `end`, in the connection's search_path.

    Not `by_settled`, it is what an issue said before there were settled verdicts.
    """
    left_out = await window.dropped_positions(connection, CARDS, end)
    changed = await (connection.fetch(DELTAS, start, end, left_out) if start else connection.fetch(ALL))
    deltas = {row["tool"]: row for row in changed}
    rows = await connection.fetch(TOOLS, start)
    tools = {row["tool"]: _tool(row, deltas.get(row["tool"]), is_held=row["tool"] in held) for row in rows}
    added = [row["tool"] for row in await connection.fetch(NEW_TOOLS, start, end, left_out)]
    new = [tools[tool] for tool in dict.fromkeys(added) if tool in tools]
    pairs = [
        PairFact(slug=row["slug"], title=row["title"], categories=tuple(sorted({row["left_category"], row["right_category"]})))
        for row in await connection.fetch(PAIRS, start, MOST_KEPT)
    ]
    reviews = [
        ReviewFact(review=row["review"], slug=tool.slug, name=tool.name, category=tool.category)
        for row in await connection.fetch(REVIEWS, start, MOST_KEPT)
        if (tool := tools.get(row["tool"])) is not None
    ]
    return arrange(list(tools.values()), new, pairs, reviews, by_settled=by_settled)


def _tool(row: Any, delta: Any, *, is_held: bool) -> ToolFact:
    ship, skip = row["ship"], row["skip"]
    before = (ship - delta["ship"], skip - delta["skip"]) if delta else (ship, skip)
    return ToolFact(
        tool=row["tool"],
        slug=row["slug"],
        name=row["name"],
        category=row["category"],
        tagline=row["tagline"],
        panel=(row["panel_ship"], row["panel_skip"]),
        community=(ship, skip),
        before=before,
        votes=delta["votes"] if delta else 0,
        panel_spoke=row["panel_spoke"],
        held=True if is_held else UNSET,
    )


def arrange(
    tools: Sequence[ToolFact],
    new: Sequence[ToolFact],
    pairs: Sequence[PairFact],
    reviews: Sequence[ReviewFact],
    *,
    by_settled: bool,
) -> Content:
    """Choose and order what the issue says, of tools in the order of their slugs."""
    verdict: Verdict = settled if by_settled else verdict_of_a_look
    voted = [tool for tool in tools if tool.votes]
    changed = [tool for tool in tools if tool.votes or tool.panel_spoke]
    is_new = {tool.tool for tool in new}
    newly = _top([tool for tool in voted if is_newly_settled(tool)], lambda tool: -sum(tool.community))
    return Content(
        newly_settled=newly if by_settled else UNSET,
        new_comparisons=tuple(pairs),
        new_tools=tuple(new[:MOST_KEPT]),
        movers=_top([tool for tool in voted if _moved(tool)], lambda tool: -abs(_moved(tool))),
        closest=_top([tool for tool in voted if _is_close(tool, verdict)], _lead),
        disagreements=_top([tool for tool in changed if _is_disputed(tool, verdict)], lambda tool: -_gap(tool)),
        reviews=tuple(reviews),
        changes=tuple(tool for tool in changed if tool.tool not in is_new or tool.votes),
    )


def _top(tools: list[ToolFact], key: Callable[[ToolFact], int]) -> tuple[ToolFact, ...]:
    return tuple(sorted(tools, key=key)[:MOST_KEPT])  # stable: equals stay in the order of their slugs


def _moved(tool: ToolFact) -> int:
    """Return the change in percentage points; 0 where too few had voted before."""
    if sum(tool.before) < FEWEST_VOTES:
        return 0
    return (percent(tool.community[0], sum(tool.community)) or 0) - (percent(tool.before[0], sum(tool.before)) or 0)


def is_newly_settled(tool: ToolFact) -> bool:
    """Return whether the votes of the period settled a verdict on the tool."""
    return not tool.held and settled(*tool.community) not in (None, settled(*tool.before))


def _lead(tool: ToolFact) -> int:
    return abs(tool.community[0] - tool.community[1])


def _is_close(tool: ToolFact, verdict: Verdict) -> bool:
    share = percent(*_share(tool.community)) or 0
    return sum(tool.community) >= FEWEST_VOTES and verdict(*tool.community) in ("mixed", None) and 40 <= share <= 60


def _is_disputed(tool: ToolFact, verdict: Verdict) -> bool:
    ship, skip = tool.panel
    said = None if tool.held else verdict(*tool.community)
    return (said == "ship" and ship < skip) or (said == "skip" and ship > skip)


def _gap(tool: ToolFact) -> int:
    return abs((percent(*_share(tool.panel)) or 0) - (percent(*_share(tool.community)) or 0))


def _share(tally: Tally) -> tuple[int, int]:
    return tally[0], sum(tally)
