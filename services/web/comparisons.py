"""Comparisons: any two listed tools side by side, and the list of announced pairs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from events.log.ids import SLUG
from projections import related, tools
from projections.comparison import Score, compare, splits
from projections.tally import Community
from projections.tools import Pair
from services.web.as_of import AsOfQuery, ComparisonAsOf, answer_comparison
from services.web.card_cache import CachedCard, ToolMoved
from services.web.flash import FLASHES, PageQuery
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, listed, page_of
from services.web.markdown import comparison_text, markdown_answer, wants_markdown
from services.web.page_cache import Kept, PageCache
from services.web.page_head import Head, comparison_head
from services.web.personas import read_roles
from services.web.site import Call, Site
from services.web.verdict_feeds import verdict_feeds

_PAGES: Final = PageCache()
_CANONICAL: Final = Kept[str](60, 1000)
_RELATED: Final = Kept[tuple[Pair, ...]](60, 1000)
_MOST_RELATED: Final = 5


class AnnouncedPair(msgspec.Struct, frozen=True):
    """A pair on the list of comparisons."""

    slug: str
    title: str
    left: Slug
    right: Slug


class PairsPage(msgspec.Struct, frozen=True):
    """A page of announced pairs, newest first."""

    items: list[AnnouncedPair]
    next: str | None


class PairNotFound(NotFound):
    """A comparison needs two different tools that are listed; the words name the one that isn't, `listed` is the other."""

    def __init__(self, words: str, listed: CachedCard | None) -> None:
        super().__init__(words)
        self.listed = listed


async def read_pairs(call: Call, query: ListQuery) -> tuple[Sequence[Pair], str | None]:
    """Return a page of the announced pairs, newest first, and the cursor of the next page."""
    return await page_of(call, "comparisons", query, int, partial(tools.pairs, call.site.reading))


async def read_comparison(site: Site, pair: str) -> tuple[CachedCard, CachedCard]:
    """Return the two tools of `left-vs-right`. Raises NotFound, ToolMoved where a tool has another slug now.

    An announced pair wins where a slug itself holds `-vs-`, then one whose slugs are present, else the shortest left slug.
    """
    ways = splits(pair)
    found = await site.cards.find_any([slug for way in ways for slug in way])
    open_ways = [(found[a], found[b]) for a, b in ways if a in found and b in found and found[a].tool != found[b].tool]
    if not open_ways:
        raise _not_found(ways, found)
    if len(open_ways) > 1:
        known = await tools.announced(site.reading, [(a.tool, b.tool) for a, b in open_ways])
        # Stable: shortest left first among equals.
        open_ways.sort(key=lambda way: ((way[0].tool, way[1].tool) not in known, _pair(way) != pair))
    chosen = open_ways[0]
    if _pair(chosen) != pair:
        raise ToolMoved(pair, _pair(chosen))
    return chosen


def _not_found(ways: Sequence[tuple[str, str]], found: Mapping[str, CachedCard]) -> PairNotFound:
    """Return what names which of two tools isn't listed: of several ways to read their slugs, by the one of which most are."""
    way = max(ways, key=lambda way: sum(slug in found for slug in way), default=())
    missing = [f"“{slug}”" for slug in way if slug not in found]
    listed = next((found[slug] for slug in way if slug in found), None)
    if not missing or not all(re.match(SLUG, slug) for slug in way):
        return PairNotFound("No two different listed tools have these slugs.", listed)
    return PairNotFound(f"There is no tool {' and no tool '.join(missing)} here.", listed)


def _pair(tools: tuple[CachedCard, CachedCard]) -> str:
    return f"{tools[0].slug}-vs-{tools[1].slug}"


async def canonical_pair(site: Site, left: CachedCard, right: CachedCard) -> str:
    """Return the one name of two tools' comparison: as it was announced, or else by slug; known for a minute."""

    async def read() -> str:
        ways = sorted([(left, right), (right, left)], key=lambda way: way[0].slug)
        known = await tools.announced(site.reading, [(a.tool, b.tool) for a, b in ways])
        ways.sort(key=lambda way: (way[0].tool, way[1].tool) not in known)  # stable
        return f"{ways[0][0].slug}-vs-{ways[0][1].slug}"

    return await _CANONICAL.of((left.tool, right.tool, left.slug, right.slug), read)


async def read_related(site: Site, left: CachedCard, right: CachedCard) -> tuple[Pair, ...]:
    """Return the newest other comparisons with either of two tools; known for a minute."""

    async def read() -> tuple[Pair, ...]:
        return tuple(await related.related_pairs(site.reading, left.tool, right.tool, _MOST_RELATED))

    return await _RELATED.of((left.tool, right.tool), read)


@endpoint("GET", "/v1/comparisons", takes=ListQuery, gives=PairsPage, statuses=(200, 304))
async def get_comparisons(call: Call, query: ListQuery) -> Answer:
    """List the announced pairs, newest first."""
    pairs, more = await read_pairs(call, query)
    items = [AnnouncedPair(f"{p.left}-vs-{p.right}", f"{p.left_name} vs {p.right_name}", p.left, p.right) for p in pairs]
    return listed(call, PairsPage(items, more), more)


@endpoint("GET", "/v1/comparisons/{pair}", takes=AsOfQuery, gives=ComparisonAsOf, statuses=(200, 301, 304))
async def get_comparison(call: Call, query: AsOfQuery) -> Answer:
    """Put two listed tools side by side, announced or not, as they are or as they were."""
    pair, cards = call.path["pair"], call.site.cards
    if query.is_past:
        return await answer_comparison(call, *await read_comparison(call.site, pair), query)
    versioned = cards.known_comparison(pair)
    if versioned is None:
        left, right = await read_comparison(call.site, pair)
        versioned = cards.comparison(left, right, pair if len(splits(pair)) == 1 else None)
    return versioned.answer(call.head.get(b"if-none-match"))


_COMPARISONS: Final = Head(
    path="/comparisons",
    title="AI tools compared, two at a time",
    description="Every comparison that the panel announced, newest first, with how both tools stand with their readers.",
)


async def read_tallies(site: Site, pairs: Iterable[Pair]) -> dict[str, Community]:
    """Return the community's tallies of the tools in some pairs, by slug."""
    found = await site.cards.find(sorted({slug for pair in pairs for slug in (pair.left, pair.right)}))
    return {slug: cached.card.community for slug, cached in found.items()}


@page("/comparisons", ListQuery)
async def comparisons_page(call: Call, query: ListQuery) -> Answer:
    """Show the announced comparisons, newest first."""
    found, more = await read_pairs(call, query)
    tallies, cache = await read_tallies(call.site, found), public_page(call, many=True)
    return show(call, "comparisons.html", cache=cache, head=_COMPARISONS, items=found, tallies=tallies, next=more)


@page("/compare/{pair}", PageQuery)
async def comparison_page(call: Call, query: PageQuery) -> Answer:
    """Show two tools side by side, announced or not, as a page or as markdown."""
    left, right = await read_comparison(call.site, call.path["pair"])
    if wants_markdown(call):
        return markdown_answer(call, comparison_text(call.site.settings.base_url, left.card, right.card), left.slug, right.slug)
    ours, theirs = left.card, right.card
    canonical, roles = await canonical_pair(call.site, left, right), await read_roles(call.site)
    beside = await read_related(call.site, left, right)

    def make() -> bytes:
        compared = msgspec.structs.asdict(compare(ours, theirs))
        split = [row.persona for row in compared["scorecard"] if _is_split(row)]
        head = comparison_head(call.site.settings.base_url, f"/compare/{canonical}", ours, theirs)
        head = msgspec.structs.replace(head, feeds=verdict_feeds())
        word = FLASHES.get(query.said)
        return call.site.theme.render(
            "compare.html", **compared, head=head, word=word, split=split, roles=roles, related=beside
        )

    found = _PAGES.page((left.slug, right.slug, query.said, canonical, beside, *roles.items()), (ours, theirs), make)
    return found.answer(call.head, public_page(call, left.slug, right.slug, vary=(b"Accept",)))


def _is_split(row: Score) -> bool:
    """Return whether a persona ships one of two tools and skips the other."""
    return row.left is not None and row.right is not None and row.left.verdict != row.right.verdict
