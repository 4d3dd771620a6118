"""The answers that pages are sent as: packed where they may be, 304 where they are there already."""

import gzip
from hashlib import blake2b
from typing import Any, Final

from services.web.http.answers import Answer, Bodiless, Headers
from services.web.http.assets import PACKED, takes_gzip
from services.web.http.conditional import weak_etag
from services.web.http.endpoints import Call
from services.web.http.templates import POLICY, render

HTML: Final = b"text/html; charset=utf-8"
_VARIES: Final = (b"vary", b"Cookie, Accept-Encoding")
ANYONES: Final = ((b"cache-control", b"public, max-age=0, must-revalidate"), _VARIES, POLICY)
VISITORS: Final = ((b"cache-control", b"private, no-cache"), _VARIES, POLICY)
SECRET: Final = ((b"cache-control", b"private, no-store"), _VARIES, POLICY)
_FAST: Final = 5  # a level of gzip: 9 takes three times as long for 1 % less


class Page:
    """A rendered page: made once, packed once, sent any number of times."""

    __slots__ = ("_body", "_etag", "_packed")

    def __init__(self, html: bytes) -> None:
        self._body = html
        self._packed: bytes | None = None
        self._etag = weak_etag(blake2b(html, digest_size=12).hexdigest())

    def answer(self, call: Call, cache: Headers = ANYONES, status: int = 200) -> Answer:
        """Answer a request for the page."""
        headers = ((b"etag", self._etag), *cache)
        if status == 200 and call.head.get(b"if-none-match") == self._etag:
            return Bodiless(304, headers)
        if not takes_gzip(call.head.get(b"accept-encoding")):
            return Answer(self._body, status, HTML, headers)
        if self._packed is None:
            self._packed = gzip.compress(self._body, _FAST, mtime=0)
        return Answer(self._packed, status, HTML, (*headers, *PACKED))


def show(call: Call, template: str, *, cache: Headers = SECRET, status: int = 200, **values: Any) -> Answer:
    """Render a page and answer with it; nobody may keep it, unless `cache` says otherwise."""
    return Page(render(template, **values)).answer(call, cache, status)
