"""Conditional answers: a weak ETag, and 304 for whoever has it already (RFC 9110, 13.1.2)."""

from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from services.web.http.answers import JSON, Answer, Bodiless, Headers, encoder

if TYPE_CHECKING:
    from services.web.http.endpoints import Call

PUBLIC: Final = ((b"cache-control", b"public, max-age=0, must-revalidate"),)
PRIVATE: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Cookie"))
NO_STORE: Final = ((b"cache-control", b"private, no-store"), (b"vary", b"Authorization, Cookie"))


def weak_etag(*parts: object) -> bytes:
    """Make a weak ETag of what identifies a representation: release, view generation, positions."""
    return b'W/"' + "-".join(map(str, parts)).encode("ascii") + b'"'


class Versioned:
    """A body with its ETag: both answers it can get, made once and sent any number of times."""

    __slots__ = ("_full", "_opaque", "_unchanged", "etag")

    def __init__(self, body: bytes, etag: bytes, *, cache: Headers = PUBLIC, media: bytes = JSON) -> None:
        headers = ((b"etag", etag), *cache)
        self.etag = etag
        self._opaque = etag.removeprefix(b"W/")
        self._full = Answer(body, 200, media, headers)
        self._unchanged = Bodiless(304, headers)

    def answer(self, if_none_match: bytes | None) -> Answer:
        """Choose the answer to a request with this If-None-Match header."""
        if if_none_match is None:
            return self._full
        if if_none_match == self.etag or self._is_among(if_none_match):
            return self._unchanged
        return self._full

    def _is_among(self, if_none_match: bytes) -> bool:
        """Compare weakly with each tag of a list; `*` is any."""
        if if_none_match.strip() == b"*":
            return True
        return any(tag.strip().removeprefix(b"W/") == self._opaque for tag in if_none_match.split(b","))


def listed(call: "Call", page: object, cursor: str | None = None, cache: Headers = PUBLIC) -> Answer:
    """Answer a list, under an ETag of its content; a cursor of the next page is linked as well (RFC 8288)."""
    body = encoder.encode(page)
    link = () if cursor is None else (next_link(call, "cursor", cursor),)
    etag = weak_etag(blake2b(body, digest_size=12).hexdigest())
    return Versioned(body, etag, cache=(*cache, *link)).answer(call.head.get(b"if-none-match"))


def next_link(call: "Call", name: str, place: str) -> tuple[bytes, bytes]:
    """Link the next page: this request with another place in the list, which the parameter `name` carries."""
    query = parse_qsl(call.scope["query_string"].decode("utf-8"))
    kept = [(given, value) for given, value in query if given not in ("cursor", "after")]
    return b"link", f'<{call.scope["path"]}?{urlencode([*kept, (name, place)])}>; rel="next"'.encode("ascii")
