"""Every page, and every form's action, in one list."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.pages import (
    routes_actions,
    routes_compare,
    routes_lists,
    routes_news,
    routes_ops,
    routes_ops_log,
    routes_ops_work,
    routes_problems,
    routes_tools,
    static_routes,
)

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
    routes_news.newsletter,
    routes_news.sign_up,
    routes_news.sent,
    routes_news.issues,
    routes_news.corrected,
    routes_problems.problem,
    routes_ops.sign_in_page,
    routes_ops.sign_in,
    routes_ops.sign_out,
    routes_ops.overview,
    routes_ops.beat,
    routes_ops_work.queue,
    routes_ops_work.decide,
    routes_ops_work.voters,
    routes_ops_work.correct,
    routes_ops_work.quarantine,
    routes_ops_work.drop,
    routes_ops_log.log,
    routes_ops_log.story,
]
