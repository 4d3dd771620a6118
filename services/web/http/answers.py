"""Answers: a body, a status and headers, ready to be sent.

An answer may be sent any number of times, to any number of callers, and never changes once made. A conditional answer
carries a weak ETag and is a 304 for callers that have its body already (RFC 9110, 13.1.2).
"""

import gzip
import re
from collections.abc import Iterable, Mapping
from copy import copy
from hashlib import blake2b
from typing import Final

import msgspec
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

JSON: Final = b"application/json"
PUBLIC: Final = ((b"cache-control", b"public, max-age=0, must-revalidate"),)
FOR_EVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"),)
PRIVATE: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Cookie"))
NO_STORE: Final = ((b"cache-control", b"private, no-store"), (b"vary", b"Authorization, Cookie"))
OF_CACHES: Final = frozenset({b"cache-control", b"x-accel-expires", b"cache-tag", b"surrogate-key"})
"""The headers that say who may keep an answer, for how long, and by which names to forget it."""
_FAST: Final = 5  # a level of gzip: 9 takes three times as long for 1 % less

# Visible ASCII without a backslash, which browsers take for a slash; two slashes would begin another site's name.
_OWN: Final = re.compile(r"/(?!/)[!-\[\]-~]*")

# A weight of nothing (RFC 9110, 12.4.2), with up to three decimals.
_REFUSED: Final = re.compile(rb";q=0(?:\.0{0,3})?(?:;|$)")

encoder = msgspec.json.Encoder()


class Answer:
    """An HTTP response. It is an ASGI application, so the framework has nothing left to do."""

    __slots__ = ("_body", "_start", "status")

    def __init__(self, body: bytes, status: int = 200, media: bytes = JSON, headers: Headers = ()) -> None:
        length = str(len(body)).encode("ascii")
        self._write(body, status, [(b"content-type", media), (b"content-length", length), *headers])

    def _write(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._start: HTTPResponseStartEvent = {"type": "http.response.start", "status": status, "headers": headers}
        self._body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": body, "more_body": False}

    def for_its_caller(self) -> "Answer":
        """Return the same answer for whoever asked alone: nobody keeps it, and it has no tags to be forgotten by."""
        answer = copy(self)
        kept = [(name, value) for name, value in self._start["headers"] if name not in OF_CACHES]
        answer._start = {**self._start, "headers": [*kept, (b"cache-control", b"private, no-store")]}
        return answer

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return self._body["body"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send(self._start)
        await send(self._body)


class EmptyAnswer(Answer):
    """An answer without a body, as its status demands (204, 304, redirects): no length and no type are sent."""

    __slots__ = ()

    def __init__(self, status: int, headers: Headers = ()) -> None:
        self._write(b"", status, list(headers))


def json_answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Encode a Struct (or anything msgspec knows) as the answer's JSON."""
    return Answer(encoder.encode(value), status, JSON, headers)


def own_path(path: str) -> str:
    """Return a path that leads to this site and nowhere else, whatever a browser makes of it; `/` for any other text."""
    return path if _OWN.fullmatch(path) else "/"


def redirect(path: str, *headers: tuple[bytes, bytes], status: int = 303) -> Answer:
    """Send the browser on to a page of this site; nobody keeps the answer."""
    location = (b"location", own_path(path).encode("ascii"))
    return EmptyAnswer(status, (location, (b"cache-control", b"no-store"), *headers))


def weak_etag(body: bytes) -> bytes:
    """Return a weak ETag of a body: no position in it, because a log that went back gives its positions out again."""
    return b'W/"' + blake2b(body, digest_size=12).hexdigest().encode("ascii") + b'"'


class Versioned:
    """A body with its ETag, and the two answers it can get, 200 and 304, made once."""

    __slots__ = ("_full", "_unchanged", "etag")

    def __init__(self, body: bytes, *, cache: Headers = PUBLIC, media: bytes = JSON) -> None:
        self.etag = weak_etag(body)
        headers = ((b"etag", self.etag), *cache)
        self._full = Answer(body, 200, media, headers)
        self._unchanged = EmptyAnswer(304, headers)

    def answer(self, if_none_match: bytes | None) -> Answer:
        """Choose the answer to a request with this If-None-Match header."""
        if if_none_match is None:
            return self._full
        if if_none_match == self.etag or is_among(self.etag, if_none_match):
            return self._unchanged
        return self._full


class Content:
    """A page or file with its ETag: sent as it is or packed, which is done once, or answered 304."""

    __slots__ = ("_body", "_etag", "_media", "_packed")

    def __init__(self, body: bytes, media: bytes) -> None:
        self._body = body
        self._media = media
        self._packed: bytes | None = None
        self._etag = weak_etag(body)

    def answer(self, head: Mapping[bytes, bytes], cache: Headers, status: int = 200) -> Answer:
        """Answer a request with these headers; `cache` says who may keep the answer, and that it varies by its encoding."""
        headers = ((b"etag", self._etag), *cache)
        known = head.get(b"if-none-match")
        if known is not None and status == 200 and is_among(self._etag, known):
            return EmptyAnswer(304, headers)
        if not takes_gzip(head.get(b"accept-encoding")):
            return Answer(self._body, status, self._media, headers)
        if self._packed is None:
            self._packed = gzip.compress(self._body, _FAST, mtime=0)
        return Answer(self._packed, status, self._media, (*headers, (b"content-encoding", b"gzip")))


def is_among(etag: bytes, if_none_match: bytes) -> bool:
    """Tell whether an ETag weakly equals one of an If-None-Match header's; `*` matches any."""
    opaque = etag.removeprefix(b"W/")
    return any(tag.strip() in (etag, opaque, b"*") for tag in if_none_match.split(b","))


def takes_gzip(accept_encoding: bytes | None) -> bool:
    """Tell whether an Accept-Encoding header allows gzip."""
    if accept_encoding is None:
        return False
    words = (word.replace(b" ", b"").replace(b"\t", b"") for word in accept_encoding.lower().split(b","))
    return any(word == b"gzip" or (word.startswith(b"gzip;") and not _REFUSED.search(word)) for word in words)
