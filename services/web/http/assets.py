"""Static files: read once, packed once, served under names that change with their content, so they may be kept for ever."""

import gzip
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from services.web.http.answers import Answer, EmptyAnswer, Headers
from services.web.http.call import Call
from services.web.http.endpoints import route
from services.web.http.problems import NotFound

STATIC: Final = Path(__file__).parents[1] / "static"
FOREVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"),)
PACKED: Final = ((b"content-encoding", b"gzip"),)
VARIES: Final = ((b"vary", b"Accept-Encoding"),)
_MEDIA: Final = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".svg": b"image/svg+xml"}


def pack(body: bytes) -> bytes:
    """Compress a body, to the same bytes each time."""
    return gzip.compress(body, 9, mtime=0)


def takes_gzip(accept_encoding: bytes | None) -> bool:
    """Tell whether an Accept-Encoding allows gzip."""
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
    """Return the asset of a file's content."""
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
    """Return the address of a static file by its plain name. Raises KeyError if there is none."""
    return f"/static/{ASSETS[name].name}"


async def _static(request: Call) -> Answer:
    found = BY_HASHED_NAME.get(request.path["name"])
    if found is None:
        raise NotFound("No such file; the page that names it was made by another release.")
    return found.answer(request.head.get(b"accept-encoding"))


static: Final = route("GET", "/static/{name}", "GET /static/{name:str}", _static)

# One name for ever, so it is asked for again after an hour; it is small, and unchanged it costs a 304.
_EMBED_ETAG: Final = (b"etag", b'W/"' + ASSETS["embed.js"].name.encode("ascii") + b'"')
_EMBED_HEADERS: Final = ((b"cache-control", b"public, max-age=3600"), _EMBED_ETAG)
_EMBED: Final = asset((STATIC / "embed.js").read_bytes(), "embed.js", _EMBED_HEADERS)


async def _embed(request: Call) -> Answer:
    if request.head.get(b"if-none-match") == _EMBED_ETAG[1]:
        return EmptyAnswer(304, _EMBED_HEADERS)
    return _EMBED.answer(request.head.get(b"accept-encoding"))


embed: Final = route("GET", "/embed.js", "GET /embed.js", _embed)
