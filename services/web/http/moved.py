"""Old addresses: where they lead now.

Nobody may keep the answer that a name has moved: it may be taken back, and a browser that remembers both ways would go round in
a circle. How a path is spelled never changes back, so that may be kept.
"""

from typing import Final

from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope

from services.web.http.answers import PUBLIC, Answer, EmptyAnswer, own_path
from services.web.http.call import Call
from services.web.http.endpoints import route

_A_DAY: Final = ((b"cache-control", b"public, max-age=86400"),)


def moved(scope: HTTPScope, former: str, name: str) -> Answer:
    """Lead to this same address with a parameter of the path replaced, the query kept; writes are sent there again (308)."""
    steps = zip(scope["path_template"].split("/"), _text(scope["raw_path"]).split("/"), strict=False)
    path = "/".join(_replaced(step, former, name) if told.startswith("{") else step for told, step in steps)
    cache = () if any(header == b"cache-control" for header, _ in scope["more_headers"]) else PUBLIC  # type: ignore[typeddict-item]
    return EmptyAnswer(301 if scope["method"] == "GET" else 308, [(b"location", _with_query(path, scope)), *cache])


def _replaced(step: str, former: str, name: str) -> str:
    """Return a step of a path with the name in it replaced, be it that of a file."""
    stem, point, ending = step.partition(".")
    return f"{name}{point}{ending}" if stem == former else step


def old_path(path: str, present: str) -> HTTPRouteHandler:
    """Return the route of a path that is spelled `present` now, with the same parameter and query."""

    async def handle(request: Call) -> Answer:
        (step,) = request.path
        last = _text(request.scope["raw_path"]).rpartition("/")[2]
        location = _with_query(present.replace(f"{{{step}}}", last), request.scope)
        return EmptyAnswer(301, [(b"location", location), *_A_DAY])

    return route("GET", path, f"GET page {path}", handle)


def _with_query(path: str, scope: HTTPScope) -> bytes:
    """Return an address with the request's query, without one that no address may hold."""
    whole = f"{path}?{_text(scope['query_string'])}" if scope["query_string"] else path
    return (whole if own_path(whole) == whole else own_path(path)).encode("ascii")


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
