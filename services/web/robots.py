"""What crawlers are told: where the public pages are, and what is nobody's to read or only the same again."""

from collections.abc import Iterator
from typing import Final

from services.web.http.answers import Answer, Content
from services.web.http.assets import VARIES
from services.web.http.pages import page
from services.web.http.queries import Query
from services.web.site import Call

TEXT: Final = b"text/plain; charset=utf-8"
_A_DAY: Final = ((b"cache-control", b"public, max-age=86400"), VARIES)

# Operators' and readers' own pages, writes, searches, and a stream without end. Further pages of a list, and pages that confirm
# what a reader did, show what other addresses show: the sitemap names all that there is. A `*` is any text (RFC 9309, 2.2.3).
_KEPT_OUT: Final = (
    "/ops", "/outbox", "/preferences", "/newsletter/", "/bookmarks", "/proof/mine", "/your-data/mine", "/tools/*/mine",
    "/tools/*/reviews/", "/search?", "/compare?", "/v1/ops", "/v1/visitors", "/v1/newsletter", "/v1/bookmarks",
    "/v1/tallies/live", "/*?*cursor=", "/*?*said=", "/*?*after=",
)  # fmt: skip
# The longest rule that fits holds: programs may page through the facts.
_LET_IN: Final = ("/tools/facts?",)


@page("/robots.txt", Query)
async def robots(call: Call, query: Query) -> Answer:
    """Say what crawlers may read."""
    settings = call.site.settings
    lines = _lines(settings.base_url) if settings.crawlers == "all" else iter(["User-agent: *", "Disallow: /"])
    return Content("".join(f"{line}\n" for line in lines).encode("ascii"), TEXT).answer(call.head, _A_DAY)


def _lines(base_url: str) -> Iterator[str]:
    yield "User-agent: *"
    for path in _LET_IN:
        yield f"Allow: {path}"
    for path in _KEPT_OUT:
        yield f"Disallow: {path}"
    yield ""
    yield f"Sitemap: {base_url}/sitemap.xml"
