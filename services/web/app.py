"""The API as a Litestar application: its routes, its wiring, its edge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from services.settings import Settings
from services.web import (
    bookmarks,
    comparisons,
    corrections,
    feed,
    health,
    issues,
    live_stream,
    me,
    moderation,
    newsletter,
    operators,
    outbox,
    preferences,
    reviews,
    tallies,
    tools,
    visitors,
    votes,
    webhooks,
)
from services.web.http.answers import Answer, Bodiless
from services.web.http.edge import Edge
from services.web.http.endpoints import Call
from services.web.http.openapi import documentation
from services.web.http.problems import add_kinds
from services.web.refusal_pages import refusal
from services.web.refusals import REFUSALS
from services.web.site import Site
from services.web.sitemap import PAGES

add_kinds(REFUSALS)

ROUTES: list[HTTPRouteHandler] = [
    health.live,
    health.ready,
    health.metrics,
    visitors.create,
    tools.tools,
    tools.tool,
    tools.categories,
    tools.reviewers,
    tools.verdicts,
    comparisons.announced,
    comparisons.comparison,
    votes.cast,
    votes.retract,
    votes.own,
    tallies.tally,
    tallies.history,
    live_stream.live,
    corrections.recorded,
    bookmarks.keep,
    bookmarks.remove,
    bookmarks.own,
    reviews.submit,
    reviews.public,
    reviews.own,
    reviews.edit,
    reviews.withdraw,
    me.erase,
    newsletter.sign_up,
    newsletter.confirm,
    newsletter.preferences,
    newsletter.set_preferences,
    preferences.confirm_page,
    preferences.unsubscribe_page,
    preferences.unsubscribe,
    preferences.preferences_page,
    preferences.save_preferences,
    preferences.export_page,
    preferences.export,
    preferences.erase_page,
    preferences.erase,
    issues.issues,
    issues.issue,
    issues.issue_page,
    feed.feed,
    outbox.mails,
    outbox.mail,
    webhooks.generic,
    webhooks.ses,
    moderation.queue,
    moderation.decide,
    operators.import_catalog,
    operators.disqualify,
    operators.reinstate,
    operators.status,
    operators.events,
]


def create_app(settings: Settings, routes: Sequence[HTTPRouteHandler] = ROUTES) -> Litestar:
    """Make the application; what it works with is `app.state.site`, opened and closed by its lifespan."""
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
    # The router alone, without Litestar's own handling of exceptions: they are the edge's.
    app.asgi_handler = Edge(app.asgi_router, site, refusal)
    return app


def _all_options(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Make the answers to OPTIONS, which name all methods of a path (Litestar's own know those registered first)."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        for path in route.paths:
            methods.setdefault(path, {"OPTIONS"}).update(route.http_methods)
    return [_options(path, found | {"HEAD"} if "GET" in found else found) for path, found in methods.items()]


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    answer = Bodiless(204, [(b"allow", ", ".join(sorted(methods)).encode("ascii"))])

    async def handle(request: Call) -> Answer:
        return answer

    return HTTPRouteHandler(path, http_method=HttpMethod.OPTIONS, name=f"OPTIONS {path}", status_code=200)(handle)
