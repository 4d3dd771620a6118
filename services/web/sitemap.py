"""Every page, and every form's action, in one list."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.web import actions, compare_pages, list_pages, news_pages, ops_log, ops_pages, ops_work, problem_pages, tool_pages
from services.web.http import static_routes

PAGES: Final[list[HTTPRouteHandler]] = [
    static_routes.static,
    static_routes.embed,
    compare_pages.home,
    compare_pages.comparison,
    tool_pages.tools,
    tool_pages.tool,
    list_pages.reviewers,
    list_pages.reviewer,
    list_pages.kept,
    actions.vote,
    actions.bookmark,
    actions.review,
    actions.edit,
    actions.withdraw,
    news_pages.newsletter,
    news_pages.sign_up,
    news_pages.sent,
    news_pages.issues,
    news_pages.corrected,
    problem_pages.problem,
    ops_pages.sign_in_page,
    ops_pages.sign_in,
    ops_pages.sign_out,
    ops_pages.overview,
    ops_pages.beat,
    ops_work.queue,
    ops_work.decide,
    ops_work.voters,
    ops_work.correct,
    ops_work.quarantine,
    ops_work.drop,
    ops_log.log,
    ops_log.story,
]
