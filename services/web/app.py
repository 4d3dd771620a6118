"""The web process as a Litestar application: its routes, its wiring, its edge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Final

from litestar import Litestar
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from services.settings import Settings
from services.web import (
    bookmarks,
    comparisons,
    corrections,
    health,
    issues,
    log,
    moderation,
    newsletter,
    operators,
    outbox,
    personas,
    preferences,
    quarantine,
    refusals,
    reviews,
    tallies,
    tools,
    visitors,
    voters,
    votes,
    webhooks,
)
from services.web.filters import FILTERS, GLOBALS
from services.web.http import assets
from services.web.http.answers import Answer, EmptyAnswer
from services.web.http.call import Call as HttpCall
from services.web.http.edge import Edge, body_limits
from services.web.http.openapi import documentation
from services.web.http.pages import TEMPLATES
from services.web.http.problems import add_kinds
from services.web.refusals import REFUSALS, refusal
from services.web.site import Call, Site

SUBJECTS: Final[tuple[ModuleType, ...]] = (
    health, visitors, tools, personas, comparisons, votes, tallies, corrections, bookmarks, reviews, newsletter, preferences,
    issues, outbox, webhooks, operators, moderation, voters, quarantine, log, assets, refusals,
)  # fmt: skip
"""The modules whose routes are served, every one that they define."""


def _routes_of(modules: Sequence[ModuleType]) -> list[HTTPRouteHandler]:
    """Return the routes in these modules, each once."""
    found = [value for module in modules for value in vars(module).values() if isinstance(value, HTTPRouteHandler)]
    return list({id(route): route for route in found}.values())


_ALL: Final = _routes_of(SUBJECTS)
ROUTES: Final = [route for route in _ALL if "operation" in route.opt]
"""The API: routes that stand in the OpenAPI document."""
PAGES: Final = [route for route in _ALL if "operation" not in route.opt]

add_kinds(REFUSALS)
TEMPLATES.filters.update(FILTERS)
TEMPLATES.globals.update(GLOBALS)


def create_app(settings: Settings, routes: Sequence[HTTPRouteHandler] = ROUTES) -> Litestar:
    """Return the application; what it works with is `app.state.site`, opened and closed by its lifespan."""
    site = Site(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with site.open():
            yield

    served = [*routes, *documentation(routes), *PAGES]
    app = Litestar(
        [*_all_options(served), *served],
        request_class=Call,
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )
    app.state.site = site
    # This reaches under Litestar (2.25): its router alone, without its own handling of exceptions, which are the edge's, and
    # without its stack of middleware, which every vote would pay for.
    app.asgi_handler = Edge(app.asgi_router, site, refusal, body_limits(routes))
    return app


def _all_options(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return routes that answer OPTIONS with all methods of a path (Litestar's own name those registered first)."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        for path in route.paths:
            methods.setdefault(path, {"OPTIONS"}).update(route.http_methods)
    return [_options(path, found | {"HEAD"} if "GET" in found else found) for path, found in methods.items()]


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    answer = EmptyAnswer(204, [(b"allow", ", ".join(sorted(methods)).encode("ascii"))])

    async def handle(request: HttpCall) -> Answer:
        return answer

    return HTTPRouteHandler(path, http_method=HttpMethod.OPTIONS, name=f"OPTIONS {path}", status_code=200)(handle)
