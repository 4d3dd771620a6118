"""Render pages: Jinja2 with everything escaped and nothing undefined, and the answers that pages are sent as."""

import gzip
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.api.answers import Answer, Bodiless, Headers
from services.api.conditional import weak_etag
from services.api.endpoints import Call
from services.pages.assets import PACKED, takes_gzip, url
from services.pages.words import FILTERS

HTML: Final = b"text/html; charset=utf-8"
# No inline script or style anywhere, and nothing from another site: pages hold what strangers wrote.
POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
)
ANYONES: Final = ((b"cache-control", b"public, max-age=0, must-revalidate"), (b"vary", b"Cookie, Accept-Encoding"), POLICY)
VISITORS: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Cookie, Accept-Encoding"), POLICY)
SECRET: Final = ((b"cache-control", b"private, no-store"), (b"vary", b"Cookie, Accept-Encoding"), POLICY)
_FAST: Final = 5  # a level of gzip: 9 takes three times as long for 1 % less


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = url
    made.filters.update(FILTERS)
    return made


_TEMPLATES: Final = _environment()


def render(template: str, **values: Any) -> str:
    """Render a template; jinja2.UndefinedError for a value it names and doesn't get."""
    return _TEMPLATES.get_template(template).render(values)


class Page:
    """A rendered page: made once, packed once, sent any number of times."""

    __slots__ = ("_body", "_etag", "_packed")

    def __init__(self, html: str) -> None:
        self._body = html.encode("utf-8")
        self._packed: bytes | None = None
        self._etag = weak_etag(blake2b(self._body, digest_size=12).hexdigest())

    def answer(self, call: Call, cache: Headers = ANYONES, status: int = 200) -> Answer:
        """Answer a request for the page: packed if it may be, 304 if it is there already."""
        headers = ((b"etag", self._etag), *cache)
        if status == 200 and call.head.get(b"if-none-match") == self._etag:
            return Bodiless(304, headers)
        if not takes_gzip(call.head.get(b"accept-encoding")):
            return Answer(self._body, status, HTML, headers)
        if self._packed is None:
            self._packed = gzip.compress(self._body, _FAST, mtime=0)
        return Answer(self._packed, status, HTML, (*headers, *PACKED))


def show(call: Call, template: str, *, cache: Headers = SECRET, status: int = 200, **values: Any) -> Answer:
    """Render a page and answer with it; by default nobody may keep it."""
    return Page(render(template, **values)).answer(call, cache, status)
