"""Static files, under names that change with their content, so they may be kept for ever; and files under names that stay."""

import asyncio
from collections.abc import Callable
from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.web.http.answers import FOR_EVER, Answer, Content, Headers
from services.web.http.call import Call
from services.web.http.endpoints import route
from services.web.http.problems import NotFound
from services.web.http.theme import MEDIA_OF, STATIC

VARIES: Final = (b"vary", b"Accept-Encoding")
_FOREVER: Final = (*FOR_EVER, VARIES)
_AN_HOUR: Final = ((b"cache-control", b"public, max-age=3600"), VARIES)


def file_route(path: str, make: Callable[[], bytes], media: bytes, cache: Headers) -> HTTPRouteHandler:
    """Return the route that serves a body under a name that stays; it is made when first asked for, beside the event loop."""
    made: list[Content] = []

    async def handle(request: Call) -> Answer:
        if not made:
            made.append(Content(await asyncio.to_thread(make), media))
        return made[0].answer(request.head, cache)

    return route("GET", path, f"GET {path}", handle)


async def _static(request: Call) -> Answer:
    found = request.site.theme.file(request.path["name"])
    if found is None:
        raise NotFound("No such file; the page that names it was made by another release.")
    return found.answer(request.head, _FOREVER)


static: Final = route("GET", "/static/{name}", "GET /static/{name:str}", _static)

# Other sites embed it under this one name: it is asked for again after an hour, and unchanged it costs a 304.
embed: Final = file_route("/embed.js", (STATIC / "embed.js").read_bytes, MEDIA_OF[".js"], _AN_HOUR)

# Pages and the widget load it alike, when a vote asks for it.
puzzle: Final = file_route("/puzzle.js", (STATIC / "puzzle.js").read_bytes, MEDIA_OF[".js"], _AN_HOUR)
