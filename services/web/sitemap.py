"""The sitemap (sitemaps.org): an index of parts, each a list of public pages with the time of its last change.

Tools stand in the order they were added, pairs as they were announced, so what a part names never moves to another one. Of all
pairs of tools, those are named that were announced, or that readers voted on or bookmarked together.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from xml.sax.saxutils import escape

from projections import tools, verdicts
from projections.verdicts import Part
from services.web.category_paths import category_path
from services.web.http.answers import Answer, Content
from services.web.http.assets import VARIES
from services.web.http.pages import page
from services.web.http.problems import NotFound
from services.web.http.queries import Query
from services.web.issues import published_issues
from services.web.page_cache import Kept
from services.web.page_head import persona_path, tool_path
from services.web.site import Call

NAMESPACE: Final = "http://www.sitemaps.org/schemas/sitemap/0.9"
MEDIA: Final = b"application/xml; charset=utf-8"
_AN_HOUR: Final = ((b"cache-control", b"public, max-age=3600"), VARIES)

PART: Final = 10_000
"""Addresses in a part; the protocol allows five times as many, but a part should be made in a moment."""
_MOST_OF_A_KIND: Final = 1_500
"""Categories, personas and issues are in one part with the pages that every site has, and pairs that readers put together."""
_ACTS: Final = 20_000
_MOST_TOOLS: Final = 20
_FEWEST_VISITORS: Final = 5
_MOST_TOGETHER: Final = 5_000
_PUT_TOGETHER: Final = Kept[Sequence[tuple[str, datetime]]](600, 1)

PAGES: Final = (
    "/", "/tools", "/categories", "/leaderboard", "/comparisons", "/compare", "/reviewers", "/issues", "/newsletter",
    "/settled", "/integrity", "/corrections", "/proof", "/your-data", "/agents",
)  # fmt: skip
"""The pages that every site has."""

Address = tuple[str, datetime | None]
"""A path, in characters that XML takes as they are, and when what it shows last changed, if that is known."""


@page("/sitemap.xml", Query)
async def sitemap_index(call: Call, query: Query) -> Answer:
    """Name the parts of the sitemap."""
    parts: list[Address] = [("/sitemap/pages.xml", None)]
    for kind, statement in (("tools", verdicts.TOOL_PARTS), ("pairs", verdicts.PAIR_PARTS)):
        parts += [(f"/sitemap/{kind}-{part.first}.xml", part.changed_at) for part in await _parts(call, statement)]
    return await _answer(call, "sitemapindex", "sitemap", parts)


@page("/sitemap/{sitemap}", Query)
async def sitemap_part(call: Call, query: Query) -> Answer:
    """Name the pages of a part. Raises NotFound for one that the index doesn't name."""
    kind, _, first = call.path["sitemap"].removesuffix(".xml").partition("-")
    return await _answer(call, "urlset", "url", await _READS[kind](call, int(first or 0)))


async def _parts(call: Call, statement: str) -> Sequence[Part]:
    return await verdicts.parts(call.site.reading, statement, PART)


async def _pages(call: Call, first: int) -> list[Address]:
    database = call.site.reading
    categories = (await tools.categories(database))[:_MOST_OF_A_KIND]
    reviewers = (await tools.reviewers(database))[:_MOST_OF_A_KIND]
    issues = await published_issues(call.site, _MOST_OF_A_KIND)
    return [
        *((path, None) for path in PAGES),
        *((category_path(category.name), None) for category in categories),
        *((persona_path(reviewer.persona), None) for reviewer in reviewers),
        *((f"/issues/{number}", at) for number, at in issues),
        *_compared(await _PUT_TOGETHER.of(call.site.settings.database_url, partial(_read_together, call))),
    ]


async def _read_together(call: Call) -> Sequence[tuple[str, datetime]]:
    """Read the pairs that readers put together: half a second's work at worst, so it is kept for some minutes."""
    limits = (_ACTS, _MOST_TOOLS, _FEWEST_VISITORS, _MOST_TOGETHER)
    return await verdicts.changed(call.site.reading, verdicts.TOGETHER, *limits)


async def _tools(call: Call, first: int) -> list[Address]:
    found = await _part(call, verdicts.BEGINS_TOOL_PART, verdicts.TOOLS_OF_PART, first)
    return [(tool_path(slug), at) for slug, at in found]


async def _pairs(call: Call, first: int) -> list[Address]:
    return _compared(await _part(call, verdicts.BEGINS_PAIR_PART, verdicts.PAIRS_OF_PART, first))


async def _part(call: Call, begins: str, statement: str, first: int) -> Sequence[tuple[str, datetime]]:
    """Return what is in the part that begins at a position. Raises NotFound."""
    found = await verdicts.changed(call.site.reading, statement, first, PART)
    if not found or not await verdicts.begins_part(call.site.reading, begins, first, PART):
        raise NotFound("The sitemap has no such part.")
    return found


def _compared(pairs: Iterable[tuple[str, datetime]]) -> list[Address]:
    return [(f"/compare/{pair}", at) for pair, at in pairs]


_READS: Final = {"pages": _pages, "tools": _tools, "pairs": _pairs}


async def _answer(call: Call, root: str, element: str, addresses: Sequence[Address]) -> Answer:
    """Write a document and answer with it. It may have a megabyte, so another thread does both."""
    write = partial(_written, call.site.settings.base_url, root, element, addresses)
    return await asyncio.to_thread(lambda: Content(write(), MEDIA).answer(call.head, _AN_HOUR))


def _written(base_url: str, root: str, element: str, addresses: Iterable[Address]) -> bytes:
    base = escape(base_url)
    lines = [
        f"<{element}><loc>{base}{path}</loc>{_lastmod(at)}</{element}>" for path, at in addresses
    ]  # fmt: skip
    return "\n".join(
        ['<?xml version="1.0" encoding="utf-8"?>', f'<{root} xmlns="{NAMESPACE}">', *lines, f"</{root}>", ""]
    ).encode("utf-8")


def _lastmod(at: datetime | None) -> str:
    return "" if at is None else f"\n<lastmod>{at.isoformat(timespec='seconds')}</lastmod>"
