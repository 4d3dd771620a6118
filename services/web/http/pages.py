"""Pages: how a route for people at browsers is written. `@page` shows, `@action` and `@post` do what a form asks.

A form is refused unless a page of this site posted it. A visitor's action is done once the browser has shown that it keeps our
cookie: a browser without it is given one and sent to the same action again (307), so a vote without a cookie never counts.

Every template extends base.html, with everything escaped and nothing undefined; pages work without JavaScript. No inline
script or style, and nothing from another site: `POLICY` says so, and every page carries it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar.handlers import HTTPRouteHandler

from services.clock import fresh_id
from services.operators.sessions import SignedIn
from services.web.http import bodies
from services.web.http.answers import Answer, Content, Headers, own_path, redirect
from services.web.http.auth import find_visitor, visitor_cookie
from services.web.http.bodies import is_form
from services.web.http.call import ANYONE, VISITOR, AnyCall, Call, Caller
from services.web.http.endpoints import path_patterns, route
from services.web.http.origins import require_same_origin
from services.web.http.problems import CookieRefused, MissingScope, NotByHead, NotFound, WrongMediaType
from services.web.http.queries import Query, QueryReader
from services.web.http.shared import shared

HTML: Final = b"text/html; charset=utf-8"
POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
)
SECRET: Final = ((b"cache-control", b"private, no-store"), (b"vary", b"Cookie, Accept-Encoding"), POLICY)
OPS: Final = "/ops"
_LONGEST_WAY: Final = 400
_ASKED: Final = "cookie=asked"

QueryT = TypeVar("QueryT", bound=Query)
Form = TypeVar("Form", bound=msgspec.Struct)


def page(
    path: str, takes: type[QueryT], by: Caller = ANYONE, *, is_safe: bool = True
) -> Callable[[Callable[[AnyCall, QueryT], Awaitable[Answer]]], HTTPRouteHandler]:
    """Register a function as a page, of anyone or of operators with a scope, who are led to the sign-in page first.

    `takes` is the Struct of its query, whose `after` the views have reached when the function runs. What a form led to, with
    `after` or `said`, is for its reader alone. A page that isn't safe changes something when it is shown: no HEAD asks for it.
    """
    query = QueryReader(takes)
    check = _checker(path)

    def made(function: Callable[..., Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            if not is_safe and request.is_head:
                raise NotByHead
            if by.kind == "operator" and (led := await _admit_operator(request, by.scope)):
                return led
            asked = query.read(request.scope["query_string"])
            if asked.after is not None:
                await request.site.reach(asked.after, request.network)
            answer = await function(request, asked)
            return answer if asked.after is None and getattr(asked, "said", None) is None else answer.for_its_caller()

        return route("GET", path, f"GET page {path}", handle, takes=takes)

    return made


def action(
    path: str, takes: type[Form], by: Caller = VISITOR
) -> Callable[[Callable[[AnyCall, Form], Awaitable[Answer]]], HTTPRouteHandler]:
    """Register what a form does, for a visitor or an operator with a scope; `takes` is the Struct of the form."""

    def made(function: Callable[..., Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            is_operators = by.kind == "operator"
            led = await _admit_operator(request, by.scope) if is_operators else await _admit_visitor(request)
            return led or await function(request, await read_form(request, takes))

        return _form(path, handle)

    return made


def post(path: str) -> Callable[[Callable[[AnyCall], Awaitable[Answer]]], HTTPRouteHandler]:
    """Register a POST handler for a form; the caller needs no visitor's cookie, and its network's writes are counted."""

    def made(function: Callable[..., Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            request.add_headers(await request.site.limit_open_write(request.network))
            return await function(request)

        return _form(path, handle)

    return made


def _form(path: str, function: Callable[[Call], Awaitable[Answer]]) -> HTTPRouteHandler:
    """Return the route of a form, which a page of this site must have posted."""
    check = _checker(path)

    async def handle(request: Call) -> Answer:
        check(request)
        require_same_origin(request)
        return await function(request)

    return route("POST", path, f"POST page {path}", handle)


def _checker(path: str) -> Callable[[Call], None]:
    """Return a check that raises NotFound when a path parameter doesn't match its pattern."""
    patterns = path_patterns(path)

    def check(call: Call) -> None:
        if not all(pattern.search(call.path[name]) for name, pattern in patterns):
            raise NotFound("Nothing is served at this path.")

    return check


async def _admit_visitor(call: Call) -> Answer | None:
    """Admit and count a browser that has our cookie; else return the answer that gives it one. Raises CookieRefused."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is not None and not call.site.is_erased(visitor):
        call.visitor = visitor
        call.add_headers(await call.site.limit_write(visitor, call.network))
        return None
    if call.scope["query_string"] == _ASKED.encode():
        raise CookieRefused("no cookie came back")
    call.add_headers(await call.site.limit_new_visitor(call.network))
    cookie = visitor_cookie(call.site.tokens.issue(fresh_id()), call.site.settings.base_url)
    return redirect(f"{call.scope['path']}?{_ASKED}", cookie, status=307)


async def signed_in(call: Call) -> SignedIn | None:
    """Return the operator whose browser calls, or None if it has not signed in, or the session is over."""
    return await call.site.sessions.find(call.site.session_cookies.secrets(call.head))


async def _admit_operator(call: Call, scope: str) -> Answer | None:
    """Admit an operator with the scope; else return the answer that leads to the sign-in page. Raises MissingScope."""
    operator = await signed_in(call)
    if operator is None:
        return redirect(await _way_in(call))
    call.signed_in = operator
    if scope and scope not in operator.scopes:
        raise MissingScope(f"You don't have the scope {scope!r}.")
    call.operator, call.scopes = operator.name, operator.scopes
    return None


async def _way_in(call: Call) -> str:
    """Return the path that leads back here once somebody has signed in; at the provider without a word where that may do."""
    secrets = call.site.session_cookies.secrets(call.head)
    scope = call.scope
    asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    to = ops_path(asked) if scope["method"] == "GET" else OPS
    query = {} if to == OPS else {"to": to}
    if secrets and scope["method"] == "GET" and await call.site.sessions.has_lapsed(secrets):
        return f"/ops/sign-in/oidc?{urlencode({'quiet': 'true', **query})}"
    return f"/ops/sign-in?{urlencode(query)}" if query else "/ops/sign-in"


def ops_path(path: str) -> str:
    """Return a path of the operators' own pages; that of the first for any other, and for those of signing in."""
    is_ours = own_path(path) == path and len(path) <= _LONGEST_WAY and (path == OPS or path.startswith((f"{OPS}/", f"{OPS}?")))
    return path if is_ours and not path.startswith(f"{OPS}/sign-") and "/." not in path else OPS


async def read_form(call: Call, type_: type[Form]) -> Form:
    """Read the form that a call sends. Raises BadInput, WrongMediaType."""
    if not is_form(call.head.get(b"content-type")):
        raise WrongMediaType("This takes a form.")
    return bodies.read_form(type_, await call.read_body())


def back(path: str, position: int | None = None, said: str | None = None, fragment: str = "") -> Answer:
    """Send the browser on to a page of this site (303) that shows the event at a position, and confirms it by `said`."""
    extra = [f"after={position}"] if position else []
    extra += [f"said={said}"] if said else []
    path = own_path(path)
    return redirect(
        path + (("&" if "?" in path else "?") + "&".join(extra) if extra else "") + (f"#{fragment}" if fragment else "")
    )


def public_page(call: Call, *tools: str, many: bool = False, vary: Sequence[bytes] = ()) -> Headers:
    """Return the headers of a page that is the same for everybody and shows these tools, by their slugs, or many."""
    return (*shared(call, *tools, many=many, vary=vary), POLICY)


def show(call: Call, template: str, *, cache: Headers = SECRET, status: int = 200, **values: Any) -> Answer:
    """Render a page and answer with it; nobody may keep it, unless `cache` says otherwise."""
    return Content(call.site.theme.render(template, **values), HTML).answer(call.head, cache, status)
