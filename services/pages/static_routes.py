"""Static files under hashed names, and the widget that other sites embed, under one name that stays."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.api.answers import Answer
from services.api.endpoints import Call
from services.api.problems import NotFound
from services.pages.assets import BY_HASHED_NAME


def _get(path: str) -> HTTPRouteHandler:
    return HTTPRouteHandler(path, http_method="GET", name=f"GET {path}", status_code=200)


async def _static(request: Call) -> Answer:
    found = BY_HASHED_NAME.get(request.path["name"])
    if found is None:
        raise NotFound("No such file; the page that names it was made by another release.")
    return found.answer(request.head.get(b"accept-encoding"))


static: Final = _get("/static/{name:str}")(_static)
