"""The web process: its routes and their wiring as a Litestar application, served by granian inside this process.

So there is one process to signal, stop or kill, and no worker that could outlive its parent; it is no slower than granian's own
processes.
"""

import asyncio
import gc
import resource
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from types import ModuleType
from typing import Any, Final

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from litestar import Litestar
from litestar._asgi import ASGIRouter
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.routes import HTTPRoute

from services.logs import configure
from services.settings import Settings
from services.web import (
    badges,
    bookmarks,
    categories,
    comparisons,
    corrections,
    facts,
    health,
    holds,
    home,
    how_we_check,
    icons,
    integrity,
    issues,
    leaderboard,
    leaving,
    llms,
    log,
    mail_check,
    mail_reports,
    moderation,
    newsletter,
    oidc,
    operator_log,
    operators,
    outbox,
    own_tools,
    personas,
    picker,
    preferences,
    proof,
    public_log,
    puzzles,
    quarantine,
    refusals,
    reports,
    reviews,
    robots,
    search,
    security_contact,
    sessions,
    settled,
    share_cards,
    sign_in,
    sitemap,
    suppressions,
    tallies,
    tools,
    verdict_feeds,
    verify_program,
    visitors,
    voters,
    votes,
    webhooks,
    your_data,
)
from services.web.http import assets
from services.web.http.admission import ArrivalLoop
from services.web.http.answers import Answer, EmptyAnswer
from services.web.http.call import Call as HttpCall
from services.web.http.doorkeeper import Doorkeeper
from services.web.http.edge import HEAD_LIMIT, Edge, body_limits
from services.web.http.endpoints import Dispatch
from services.web.http.openapi import documentation
from services.web.http.problems import add_kinds
from services.web.refusals import REFUSALS, refusal
from services.web.site import Call, Site

# A connection holds a place as long as its answer lasts, streams too; granian's own limit is 128, and others would wait.
BACKLOG: Final = 1024
MOST_AT_ONCE: Final = 4096
CROWDED: Final = MOST_AT_ONCE * 7 // 8
NETWORK_CONNECTIONS: Final = MOST_AT_ONCE // 16
"""A network's share of the places, once so many connections are open that they run short."""
STOP_SECONDS: Final = 5
HEAD_MILLISECONDS: Final = 8_000
"""How long a head may take, from the connection's opening or the answer before it: so a silent connection ends as well."""
YOUNG_OBJECTS: Final = 20_000
"""So many objects are made between two looks for garbage: the usual 700 are those of a few requests that are under way."""

SUBJECTS: Final[tuple[ModuleType, ...]] = (
    home,
    health, visitors, tools, own_tools, personas, comparisons, votes, tallies, settled, corrections, how_we_check, bookmarks,
    reviews, reports, newsletter, preferences, leaving, issues, outbox, your_data, mail_reports, mail_check,
    operators, sign_in, oidc, sessions, operator_log, moderation, integrity, webhooks, voters, puzzles, quarantine,
    suppressions, holds, log, public_log, assets, refusals, security_contact, verify_program, proof,
    share_cards, badges, icons,
    facts, robots, llms, sitemap, verdict_feeds,
    search, categories, picker, leaderboard,
)  # fmt: skip
"""The modules whose routes are served, every one that they define."""

TAGS: Final = {
    "bookmarks": "The tools that a visitor keeps.",
    "categories": "The categories of tools.",
    "comparisons": "Two tools side by side.",
    "corrections": "The public record of votes that were taken back.",
    "health": "Whether the process can serve.",
    "integrity": "How votes and reviews are checked, and what came of it.",
    "issues": "The issues of the newsletter.",
    "leaderboard": "Tools by what their votes have settled, and what moved.",
    "log": "The public log: what anybody needs to hold the site to its word.",
    "metrics": "Figures for Prometheus.",
    "newsletter": "Signing up, and what a subscriber may do by the links of its mails.",
    "ops": "What operators do.",
    "outbox": "The mails of a site that has no relay.",
    "reviewers": "The personas of the panel.",
    "reviews": "Readers' reviews.",
    "search": "Tools by words of their texts.",
    "tallies": "Tallies as they change.",
    "tools": "The tools, their votes and their tallies.",
    "visitors": "Those who vote.",
    "webhooks": "What mail providers report.",
}
"""What the routes below each first step of a path are about, for the document."""


def _routes_of(modules: Sequence[ModuleType]) -> list[HTTPRouteHandler]:
    """Return the routes in these modules, each once."""
    found = [value for module in modules for value in vars(module).values() if isinstance(value, HTTPRouteHandler)]
    return list({id(route): route for route in found}.values())


_ALL: Final = _routes_of(SUBJECTS)
ROUTES: Final = [route for route in _ALL if "operation" in route.opt]
"""The API: routes that stand in the OpenAPI document."""
PAGES: Final = [route for route in _ALL if "operation" not in route.opt]

add_kinds(REFUSALS)


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then drain; requests under way at the end have five seconds to finish."""
    configure(settings.log_format)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, and the usual limit is 1,024
    uvloop.run(serve(settings, host, port), loop_factory=ArrivalLoop)


async def serve(settings: Settings, host: str, port: int) -> None:
    """Serve inside a running event loop."""
    app = create_app(settings)
    site: Site = app.state.site
    server, loop = _server(app, host, port), asyncio.get_running_loop()

    def stop() -> None:
        site.live.close()  # streams never end by themselves, and the server waits for requests under way
        site.followers.close()
        server.stop()  # type: ignore[no-untyped-call]

    def leave() -> None:
        """Say so in every answer for a while, so that proxies and callers go elsewhere; a second signal ends the wait."""
        wait = 0 if site.is_leaving else settings.drain_seconds
        site.is_leaving = True
        loop.call_later(wait, stop)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, leave)
    doorkeeper = Doorkeeper(port, site.networks, CROWDED, NETWORK_CONNECTIONS)
    async with app.lifespan(), running(doorkeeper.run()):
        gc.freeze()  # what is loaded now stays: collections needn't look at it again
        gc.set_threshold(YOUNG_OBJECTS)
        with suppress(TimeoutError):  # granian raises it when it has cut a caller off
            await server.serve()


def _server(app: Litestar, host: str, port: int) -> Server:
    server = Server(
        app.asgi_handler,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,  # the lifespan is ours, so that errors at the start are raised here
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=MOST_AT_ONCE,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_MILLISECONDS, max_buffer_size=HEAD_LIMIT),
        log_enabled=False,
    )
    server.workers_kill_timeout = STOP_SECONDS
    return server


@asynccontextmanager
async def running(task: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a task beside something, and cancel it afterwards."""
    beside = asyncio.create_task(task)
    try:
        yield
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)


class _Litestar(Litestar):
    """Litestar (2.25) without its plugins: to load pydantic for them, where it is installed, takes longer than our routes."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins


def create_app(settings: Settings, routes: Sequence[HTTPRouteHandler] = ROUTES) -> Litestar:
    """Return the application; what it works with is `app.state.site`, opened and closed by its lifespan."""
    site = Site(settings)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with site.open():
            yield

    app = _Litestar(lifespan=[lifespan], openapi_config=None, logging_config=None)
    app.state.site = site
    # This reaches under Litestar (2.25): without its own handling of exceptions, which are the edge's, and without its stack of
    # middleware, which every vote would pay for.
    app.asgi_handler = Edge(
        Dispatch(router_of(tuple(routes), settings.identity.site_name), Call),
        site,
        partial(refusal, site.theme),
        body_limits(routes),
        (public_log.PREFIX,),
    )
    return app


@cache
def router_of(routes: tuple[HTTPRouteHandler, ...], name: str) -> ASGIRouter:
    """Return the router of these routes, the document that names the site, and the pages: nothing else of a site is in it.

    It takes longer than all else of an application, so a process that makes several makes it once. The routes are registered by
    path: Litestar's own way looks at all of them again for each, and at each again for every other of its path.
    """
    app = _Litestar(request_class=Call, openapi_config=None, logging_config=None)
    served = [*routes, *documentation(routes, TAGS, name), *PAGES]
    by_path: defaultdict[str, list[HTTPRouteHandler]] = defaultdict(list)
    for route in (*_all_options(served), *served):
        route.owner = app
        for path in route.paths:
            by_path[path].append(route)
    for path, handlers in by_path.items():
        app.routes.append(known := HTTPRoute(path=path, route_handlers=handlers))
        known.create_handler_map()
    app.asgi_router.construct_routing_trie()
    return app.asgi_router


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
