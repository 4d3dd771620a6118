"""The API as a Litestar application: its routes, its wiring, its edge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from services.api import (
    routes_bookmarks,
    routes_comparisons,
    routes_corrections,
    routes_feed,
    routes_health,
    routes_issues,
    routes_live,
    routes_me,
    routes_moderation,
    routes_newsletter,
    routes_operators,
    routes_outbox,
    routes_reader_pages,
    routes_reviews,
    routes_tallies,
    routes_tools,
    routes_visitors,
    routes_votes,
    routes_webhooks,
)
from services.api.answers import Answer, Bodiless
from services.api.domain import REFUSALS
from services.api.edge import Edge
from services.api.endpoints import Call
from services.api.openapi import documentation
from services.api.problems import add_kinds
from services.api.site import Site
from services.pages.refusals import refusal
from services.pages.sitemap import PAGES
from services.settings import Settings

add_kinds(REFUSALS)

ROUTES: list[HTTPRouteHandler] = [
    routes_health.live,
    routes_health.ready,
    routes_health.metrics,
    routes_visitors.create,
    routes_tools.tools,
    routes_tools.tool,
    routes_tools.categories,
    routes_tools.reviewers,
    routes_tools.verdicts,
    routes_comparisons.announced,
    routes_comparisons.comparison,
    routes_votes.cast,
    routes_votes.retract,
    routes_votes.own,
    routes_tallies.tally,
    routes_tallies.history,
    routes_live.live,
    routes_corrections.recorded,
    routes_bookmarks.keep,
    routes_bookmarks.remove,
    routes_bookmarks.own,
    routes_reviews.submit,
    routes_reviews.public,
    routes_reviews.own,
    routes_reviews.edit,
    routes_reviews.withdraw,
    routes_me.erase,
    routes_newsletter.sign_up,
    routes_newsletter.confirm,
    routes_newsletter.preferences,
    routes_newsletter.set_preferences,
    routes_reader_pages.confirm_page,
    routes_reader_pages.unsubscribe_page,
    routes_reader_pages.unsubscribe,
    routes_reader_pages.preferences_page,
    routes_reader_pages.save_preferences,
    routes_reader_pages.export_page,
    routes_reader_pages.export,
    routes_reader_pages.erase_page,
    routes_reader_pages.erase,
    routes_issues.issues,
    routes_issues.issue,
    routes_issues.issue_page,
    routes_feed.feed,
    routes_outbox.mails,
    routes_outbox.mail,
    routes_webhooks.generic,
    routes_webhooks.ses,
    routes_moderation.queue,
    routes_moderation.decide,
    routes_operators.import_catalog,
    routes_operators.disqualify,
    routes_operators.reinstate,
    routes_operators.status,
    routes_operators.events,
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
