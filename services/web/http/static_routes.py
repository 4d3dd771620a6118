"""Static files under hashed names, and the widget that other sites embed, under one name that stays."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.web.http.answers import Answer, Bodiless
from services.web.http.assets import ASSETS, BY_HASHED_NAME, STATIC, asset
from services.web.http.endpoints import Call
from services.web.http.problems import NotFound


def _get(path: str) -> HTTPRouteHandler:
    return HTTPRouteHandler(path, http_method="GET", name=f"GET {path}", status_code=200)


async def _static(request: Call) -> Answer:
    found = BY_HASHED_NAME.get(request.path["name"])
    if found is None:
        raise NotFound("No such file; the page that names it was made by another release.")
    return found.answer(request.head.get(b"accept-encoding"))


static: Final = _get("/static/{name:str}")(_static)

# One name for ever, so it is asked for again after an hour; it is small, and unchanged it costs a 304.
_EMBED_ETAG: Final = (b"etag", b'W/"' + ASSETS["embed.js"].name.encode("ascii") + b'"')
_EMBED_HEADERS: Final = ((b"cache-control", b"public, max-age=3600"), _EMBED_ETAG)
_EMBED: Final = asset((STATIC / "embed.js").read_bytes(), "embed.js", _EMBED_HEADERS)


async def _embed(request: Call) -> Answer:
    if request.head.get(b"if-none-match") == _EMBED_ETAG[1]:
        return Bodiless(304, _EMBED_HEADERS)
    return _EMBED.answer(request.head.get(b"accept-encoding"))


embed: Final = _get("/embed.js")(_embed)
