"""The leaderboard: tools by what their votes have settled, of all or of a category, and what moved within a week."""

from collections.abc import Sequence
from typing import Final

import msgspec

from projections import leaders, tools
from projections.cards import Card
from projections.leaders import Leader, Moved, Place
from projections.settled import CommunityVerdict
from projections.tally import community
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.queries import CategoryName, ListQuery, listed, page_of
from services.web.page_head import Head, query_path
from services.web.site import Call
from services.web.tools import read_cards
from services.web.verdict_feeds import verdict_feeds

_MOVED: Final = 8


class LeaderboardQuery(ListQuery, frozen=True, kw_only=True):
    """The leaderboard of all tools, or of a category."""

    category: CategoryName | None = None


class Ranked(msgspec.Struct, frozen=True):
    """A tool with its rank, and how it stood seven days ago.

    `rank_before` is null for a tool that had no votes then, or stood below the first 100.
    """

    rank: int
    rank_before: int | None
    verdict_before: CommunityVerdict | None
    settled_before: CommunityVerdict | None
    tool: Card

    @property
    def has_turned(self) -> bool:
        """Whether the verdict is another than seven days ago, for a single look or for good."""
        now = self.tool.community
        return (self.verdict_before, self.settled_before) != (now.verdict, now.settled)


class Leaderboard(msgspec.Struct, frozen=True):
    """A page of the leaderboard, the first first; on its first page also the verdicts that changed within seven days."""

    items: list[Ranked]
    next: str | None
    moved: Sequence[Moved]


async def read_leaderboard(call: Call, query: LeaderboardQuery) -> Leaderboard:
    """Return a page of the leaderboard."""
    database = call.site.reading

    async def read(after: Place | None, limit: int) -> Sequence[Leader]:
        return await leaders.leaders(database, query.category, limit, after)

    rows, more = await page_of(
        call, f"leaderboard {query.category or ''}", query, Place, read, lambda one: Place(one.place, one.slug, one.rank)
    )
    cards = {card.slug: card for card in await read_cards(call.site, [row.slug for row in rows])}
    moved = [] if query.cursor or query.category else await leaders.moved_this_week(database, _MOVED)
    return Leaderboard([_ranked(row, cards[row.slug]) for row in rows if row.slug in cards], more, moved)


def _ranked(row: Leader, card: Card) -> Ranked:
    before = community(row.ship_before, row.skip_before)
    return Ranked(row.rank, row.rank_before, before.verdict, before.settled, card)


@endpoint("GET", "/v1/leaderboard", takes=LeaderboardQuery, gives=Leaderboard, statuses=(200, 304))
async def get_leaderboard(call: Call, query: LeaderboardQuery) -> Answer:
    """List tools with votes by the lower end of `settled_interval`, with rank and verdicts of seven days ago.

    The first page of all tools also has the verdicts that changed since then, as `moved`.
    """
    found = await read_leaderboard(call, query)
    return listed(call, found, found.next)


@page("/leaderboard", LeaderboardQuery)
async def leaderboard_page(call: Call, query: LeaderboardQuery) -> Answer:
    """Show the leaderboard."""
    found = await read_leaderboard(call, query)
    where = f" in {query.category}" if query.category else ""
    head = Head(
        path=query_path("/leaderboard", category=query.category),
        title=f"Leaderboard: AI tools{where} that readers would ship",
        description=f"Tools{where} by what their votes have settled, and what moved this week.",
        feeds=verdict_feeds(query.category),
    )
    return show(
        call,
        "leaderboard.html",
        cache=public_page(call, many=True),
        head=head,
        board=found,
        moved=leaders.once(found.moved),
        category=query.category,
        categories=await tools.categories(call.site.reading),
    )
