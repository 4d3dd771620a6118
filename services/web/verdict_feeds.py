"""Feeds of verdicts (Atom): an entry for each panel or settled verdict that came, changed or went, of all tools or a category.

An entry leads to the tool as it stood at that very event, and is never changed.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from emails.feed import Entry, atom
from projections import verdicts
from projections.verdicts import VerdictChange
from services.web.category_paths import category_path
from services.web.http.answers import Answer, Versioned
from services.web.http.pages import page
from services.web.http.queries import CategoryName, Query
from services.web.http.shared import shared
from services.web.page_head import Feed, query_path, tool_path
from services.web.site import Call

MEDIA: Final = b"application/atom+xml; charset=utf-8"
_ENTRIES: Final = 50
_BEGAN: Final = "select recorded_at from log.events where position = 1"
_SINCE: Final = "select since from newsletter.schedule"


class VerdictsFeedQuery(Query, frozen=True, kw_only=True):
    """Which tools' verdicts."""

    category: CategoryName | None = None


def verdict_feeds(category: str | None = None) -> Sequence[Feed]:
    """Return the feeds of verdicts that readers of a page about a category, or about any tool, may follow."""
    feeds = [Feed("Verdicts as they change", query_path("/tools.xml"))]
    if category is not None:
        feeds.insert(0, Feed(f"Verdicts on {category}", query_path("/tools.xml", category=category)))
    return feeds


@page("/tools.xml", VerdictsFeedQuery)  # for feed readers, so it stands on pages and not in the document of the API
async def get_verdicts_feed(call: Call, query: VerdictsFeedQuery) -> Answer:
    """Return the newest verdicts as an Atom feed."""
    site, base_url = call.site, call.site.settings.base_url
    name = site.settings.identity.site_name
    began = await site.reading.fetchval(_BEGAN) or await site.reading.fetchval(_SINCE)
    changes = await verdicts.newest(site.reading, query.category, _ENTRIES)
    body = atom(
        f"{name}: verdicts" if query.category is None else f"{name}: verdicts on {query.category}",
        base_url,
        [_entry(base_url, change) for change in changes],
        began=began,
        feed_url=base_url + query_path("/tools.xml", category=query.category),
        page_url=base_url + ("/tools" if query.category is None else category_path(query.category)),
    )
    return Versioned(body, media=MEDIA, cache=shared(call, many=True)).answer(call.head.get(b"if-none-match"))


def _entry(base_url: str, change: VerdictChange) -> Entry:
    says = _says(change)
    return Entry(
        url=f"{base_url}{tool_path(change.slug)}?position={change.position}",
        title=f"{change.name}: {says}",
        summary=f"{says[0].upper()}{says[1:]}, at entry {change.position} of the public log.",
        published=change.recorded_at,
        updated=change.recorded_at,
        id=_id(base_url, change),
        category=change.category,
    )


def _id(base_url: str, change: VerdictChange) -> str:
    """Return a tag (RFC 4151) that no renaming of the tool changes."""
    host = (urlsplit(base_url).hostname or "localhost").replace(":", ".")
    return f"tag:{host},{change.recorded_at:%Y-%m-%d}:verdict/{change.tool}/{change.kind}/{change.position}"


def _says(change: VerdictChange) -> str:
    """Say what changed: the panel says ship; skip is settled, it was ship; nothing is settled any more, it was ship."""
    was = "" if change.before is None else f", it was {change.before}"
    if change.kind == "panel":
        return f"the panel {'is split' if change.after == 'mixed' else f'says {change.after}'}{was}"
    return f"{change.after or 'nothing'} is settled{'' if change.after else ' any more'}{was}"
