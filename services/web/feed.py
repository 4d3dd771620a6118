"""The issues as an Atom feed (RFC 4287)."""

from hashlib import blake2b
from typing import Final

from emails.feed import Entry, atom
from services.web.http.answers import Answer, Versioned, weak_etag
from services.web.http.endpoints import endpoint
from services.web.issues import IssueLine, lines
from services.web.site import Call

FEED: Final = b"application/atom+xml; charset=utf-8"
TITLE: Final = "Weekly AI Tool Verdicts"
_IN_FEED: Final = 20


@endpoint("GET", "/feed.xml", gives=FEED, statuses=(200, 304))
async def feed(call: Call) -> Answer:
    """Give the issues as an Atom feed."""
    base_url = call.site.settings.base_url
    began = await call.site.database.fetchval("select since from newsletter.schedule")
    entries = [_entry(line) for line in await lines(call, 2**31 - 1, _IN_FEED)]
    body = atom(TITLE, base_url, entries, began=began)
    etag = weak_etag(blake2b(body, digest_size=12).hexdigest())
    return Versioned(body, etag, media=FEED).answer(call.head.get(b"if-none-match"))


def _entry(line: IssueLine) -> Entry:
    summary = f"{line.period_from:%Y-%m-%d} to {line.published_at:%Y-%m-%d}"
    return Entry(line.url, line.title, summary, line.published_at, line.published_at)
