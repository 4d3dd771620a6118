"""Static files: read once, packed once, served under names that change with their content, so they may be kept for ever."""

import gzip
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from services.web.http.answers import Answer, Headers

STATIC: Final = Path(__file__).parents[1] / "static"
FOREVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"),)
PACKED: Final = ((b"content-encoding", b"gzip"),)
VARIES: Final = ((b"vary", b"Accept-Encoding"),)
_MEDIA: Final = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".svg": b"image/svg+xml"}


def pack(body: bytes) -> bytes:
    """Compress a body; the same bytes come out whenever it is done."""
    return gzip.compress(body, 9, mtime=0)


def takes_gzip(accept_encoding: bytes | None) -> bool:
    """Tell whether whoever sends this Accept-Encoding reads gzip."""
    if accept_encoding is None:
        return False
    words = (word.replace(b" ", b"") for word in accept_encoding.lower().split(b","))
    return any(word == b"gzip" or (word.startswith(b"gzip;") and not word.endswith((b"q=0", b"q=0.0"))) for word in words)


class Asset(NamedTuple):
    """A static file: its hashed name and the two answers it has."""

    name: str
    plain: Answer
    packed: Answer

    def answer(self, accept_encoding: bytes | None) -> Answer:
        """Choose the encoding."""
        return self.packed if takes_gzip(accept_encoding) else self.plain


def asset(body: bytes, name: str, cache: Headers = FOREVER) -> Asset:
    """Make an asset of a file's content."""
    stem, dot, ending = name.rpartition(".")
    media = _MEDIA[dot + ending]
    hashed = f"{stem}.{blake2b(body, digest_size=6).hexdigest()}.{ending}"
    return Asset(
        hashed,
        Answer(body, 200, media, (*cache, *VARIES)),
        Answer(pack(body), 200, media, (*cache, *VARIES, *PACKED)),
    )


def _read() -> dict[str, Asset]:
    return {path.name: asset(path.read_bytes(), path.name) for path in sorted(STATIC.iterdir()) if path.suffix in _MEDIA}


ASSETS: Final = _read()
BY_HASHED_NAME: Final = {found.name: found for found in ASSETS.values()}


def url(name: str) -> str:
    """Give the address of a static file by its plain name; KeyError if there is none."""
    return f"/static/{ASSETS[name].name}"
