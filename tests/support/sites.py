"""The API inside the test's own process: settings on the session's servers, and a client that needs no port."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from services.settings import Settings
from services.web.app import ROUTES, create_app


@asynccontextmanager
async def opened(given: Settings, routes: Sequence[HTTPRouteHandler] = ROUTES) -> AsyncIterator[Litestar]:
    """Run the application without a server."""
    app = create_app(given, routes)
    async with app.lifespan():
        yield app


@asynccontextmanager
async def client(given: Settings, routes: Sequence[HTTPRouteHandler] = ROUTES) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application and give a client of it; cookies are kept out unless a test sends them."""
    async with opened(given, routes) as app:
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 4321))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://site.test") as made:
            yield made
