"""Conditional answers: a weak ETag, and 304 for whoever has it already (RFC 9110, 13.1.2)."""

from typing import Final

from services.api.answers import JSON, Answer, Bodiless

PUBLIC: Final = ((b"cache-control", b"public, max-age=0, must-revalidate"),)
PRIVATE: Final = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Cookie"))


def weak_etag(*parts: object) -> bytes:
    """Make a weak ETag of what identifies a representation: release, view generation, positions."""
    return b'W/"' + "-".join(map(str, parts)).encode("ascii") + b'"'


class Versioned:
    """A body with its ETag: both answers it can get, made once and sent any number of times."""

    __slots__ = ("_full", "_opaque", "_unchanged", "etag")

    def __init__(
        self, body: bytes, etag: bytes, *, cache: tuple[tuple[bytes, bytes], ...] = PUBLIC, media: bytes = JSON
    ) -> None:
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
