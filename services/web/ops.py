"""How an operator's page is written: `@ops_page` and `@ops_action` admit who has signed in with a token that has the scope."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from litestar.handlers import HTTPRouteHandler

from services.clock import now
from services.settings import OperatorToken
from services.web.http.answers import Answer, Bodiless
from services.web.http.endpoints import Call
from services.web.http.pages import checker, handler, read_form, require_same_origin
from services.web.http.problems import MissingScope
from services.web.http.queries import Query, QueryReader
from services.web.http.rendering import show
from services.web.http.session import Sessions

Asked = TypeVar("Asked", bound=Query)
Form = TypeVar("Form", bound=msgspec.Struct)


ENTRIES: Final = (
    ("read", "/ops", "Overview"),
    ("moderate", "/ops/reviews", "Moderation"),
    ("voters", "/ops/voters", "Voters"),
    ("read", "/ops/quarantine", "Quarantine"),
    ("read", "/ops/log", "Log"),
)
"""The operators' pages: the scope that each needs, its address and its name."""


def first_page(operator: OperatorToken) -> str:
    """Give the first page that an operator's scopes open; the overview, which says what is missing, if none does."""
    return next((path for scope, path, _ in ENTRIES if scope in operator.scopes), "/ops")


def signed_in(call: Call) -> OperatorToken | None:
    """Tell which operator's browser calls; None if it has not signed in."""
    return Sessions(call.site.settings).operator(call.head, now().timestamp())


def _admit(call: Call, scope: str) -> bool:
    """Admit an operator with the scope and say so; False if nobody is signed in. MissingScope."""
    operator = signed_in(call)
    if operator is None:
        return False
    if scope not in operator.scopes:
        raise MissingScope(f"Your token doesn't carry the scope {scope!r}.")
    call.operator = operator.name
    return True


def to_sign_in() -> Answer:
    """Lead to the sign-in page."""
    return Bodiless(303, ((b"location", b"/ops/sign-in"), (b"cache-control", b"no-store")))


def ops_page(
    path: str, scope: str, takes: type[Asked]
) -> Callable[[Callable[[Call, Asked], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function an operator's page; `takes` is the Struct of its query, whose `after` the views have reached."""
    query = QueryReader(takes)
    check = checker(path)

    def made(function: Callable[[Call, Asked], Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            if not _admit(request, scope):
                return to_sign_in()
            asked = query.read(request.scope["query_string"])
            await request.site.reach(asked.after)
            return await function(request, asked)

        return handler("GET", path)(handle)

    return made


def ops_action(
    path: str, scope: str, takes: type[Form]
) -> Callable[[Callable[[Call, Form], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function what an operator's form does; `takes` is the Struct of the form."""
    check = checker(path)

    def made(function: Callable[[Call, Form], Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            require_same_origin(request)
            if not _admit(request, scope):
                return to_sign_in()
            return await function(request, await read_form(request, takes))

        return handler("POST", path)(handle)

    return made


def show_ops(call: Call, template: str, here: str, **values: Any) -> Answer:
    """Render an operator's page; nobody keeps it."""
    operator = signed_in(call)
    entries = [entry for entry in ENTRIES if operator is not None and entry[0] in operator.scopes]
    return show(call, template, ops_here=here, operator=call.operator, entries=entries, **values)
