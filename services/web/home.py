"""The first page: the week. What is contested, what is new, what moved and who leads; lists in full have pages of their own."""

from typing import Final

from msgspec.structs import replace

from projections import leaders, tools
from services.web.comparisons import read_tallies
from services.web.http.answers import Answer
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query
from services.web.page_head import Head, website
from services.web.site import Call
from services.web.tools import read_cards
from services.web.verdict_feeds import verdict_feeds

_PAIRS: Final = 5
_CONTESTED: Final = 4
_TOOLS: Final = 5

_HEAD: Final = Head(
    path="/",
    title="Which AI tool should you ship?",
    description="AI tools compared two at a time: a panel’s verdict, the community’s vote, and how sure either is.",
    feeds=verdict_feeds(),
)


@page("/", Query)
async def home_page(call: Call, query: Query) -> Answer:
    """Show the week: the most contested pair, what moved, the newest comparisons and verdicts, and who leads."""
    site = call.site
    newest = await tools.pairs(site.reading, None, _PAIRS)
    contested = await tools.contested(site.reading, _CONTESTED)
    ahead = await tools.tools(site.reading, "settled", None, None, _TOOLS)
    return show(
        call,
        "home.html",
        cache=public_page(call, many=True),
        head=replace(_HEAD, data=(website(site.settings.base_url, site.settings.identity.site_name),)),
        newest=newest,
        contested=contested,
        tallies=await read_tallies(site, (*newest, *contested)),
        moved=leaders.once(await leaders.moved_this_week(site.reading, 2 * _TOOLS))[:_TOOLS],
        judged=await read_cards(site, await leaders.newest_tools(site.reading, _TOOLS)),
        leaders=[card for card in await read_cards(site, [one.slug for one in ahead]) if card.community.total],
    )
