"""Static files, under names that change with their content, so they may be kept for ever; and files under names that stay."""

from hashlib import blake2b
from pathlib import Path
from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.web.http.answers import Answer, Content, Headers
from services.web.http.call import Call
from services.web.http.endpoints import route
from services.web.http.problems import NotFound

STATIC: Final = Path(__file__).parents[1] / "static"
MEDIA_OF: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
VARIES: Final = (b"vary", b"Accept-Encoding")
_FOREVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"), VARIES)
_AN_HOUR: Final = ((b"cache-control", b"public, max-age=3600"), VARIES)

_BODIES: Final = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in MEDIA_OF}
_HASHED: Final = {
    name: f".{blake2b(body, digest_size=6).hexdigest()}.".join(name.rsplit(".", 1)) for name, body in _BODIES.items()
}
_FILES: Final = {_HASHED[name]: Content(body, MEDIA_OF[Path(name).suffix]) for name, body in _BODIES.items()}


def url(name: str) -> str:
    """Return the address of a static file by its plain name. Raises KeyError if there is none."""
    return f"/static/{_HASHED[name]}"


def file_route(path: str, body: bytes, media: bytes, cache: Headers) -> HTTPRouteHandler:
    """Return the route that serves a body under a name that stays."""
    content = Content(body, media)

    async def handle(request: Call) -> Answer:
        return content.answer(request.head, cache)

    return route("GET", path, f"GET {path}", handle)


async def _static(request: Call) -> Answer:
    found = _FILES.get(request.path["name"])
    if found is None:
        raise NotFound("No such file; the page that names it was made by another release.")
    return found.answer(request.head, _FOREVER)


static: Final = route("GET", "/static/{name}", "GET /static/{name:str}", _static)

# Other sites embed it under this one name: it is asked for again after an hour, and unchanged it costs a 304.
embed: Final = file_route("/embed.js", _BODIES["embed.js"], MEDIA_OF[".js"], _AN_HOUR)
