"""Every page, and every form's action, in one list."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.pages import routes_actions, routes_compare, routes_lists, routes_tools, static_routes

PAGES: Final[list[HTTPRouteHandler]] = [
    static_routes.static,
    static_routes.embed,
    routes_compare.home,
    routes_compare.comparison,
    routes_tools.tools,
    routes_tools.tool,
    routes_lists.reviewers,
    routes_lists.reviewer,
    routes_lists.kept,
    routes_actions.vote,
    routes_actions.bookmark,
    routes_actions.review,
    routes_actions.edit,
    routes_actions.withdraw,
]
