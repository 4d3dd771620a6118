"""The API as a Litestar application: its routes, its wiring, its edge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from services.api import routes_health, routes_visitors
from services.api.edge import Edge
from services.api.endpoints import Call
from services.api.openapi import documentation
from services.api.site import Site
from services.settings import Settings

ROUTES: list[HTTPRouteHandler] = [
    routes_health.live,
    routes_health.ready,
    routes_health.metrics,
    routes_visitors.create,
]


def create_app(settings: Settings) -> Litestar:
    """Make the application; what it works with is `app.state.site`, opened and closed by its lifespan."""
    site = Site(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with site.open():
            yield

    app = Litestar(
        [*ROUTES, *documentation(ROUTES)],
        request_class=Call,
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )
    app.state.site = site
    # The router alone, without Litestar's own handling of exceptions: they are the edge's.
    app.asgi_handler = Edge(app.asgi_router, site)
    return app
