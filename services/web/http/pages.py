"""How a page's route is written: `@page` for what is read, `@action` for what a form does.

An action is refused unless a page of this site posted it, and done once the browser has shown that it keeps our cookie: who has
none is given one and sent to the same action again (307), so that a vote without a cookie never counts. It answers 303.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from litestar.handlers import HTTPRouteHandler

from services.fresh_ids import fresh_id
from services.web.http.answers import Answer, Bodiless
from services.web.http.auth import find_visitor
from services.web.http.bodies import bad_input
from services.web.http.endpoints import PATH_PATTERNS, Call
from services.web.http.forms import fields, is_form
from services.web.http.problems import Kind, NotFound, Refusal, WrongMediaType, add_kinds
from services.web.http.queries import Query, QueryReader
from services.web.visitors import cookie

_ASKED: Final = "cookie=asked"
_NO_STORE: Final = (b"cache-control", b"no-store")


class NotFromHere(Refusal):
    """Another site posted the form."""


class CookieRefused(Refusal):
    """The browser doesn't keep our cookie."""


add_kinds(
    {
        NotFromHere: Kind(403, "cross-origin", "Not from here", "This form was sent from another site, so nothing was done."),
        CookieRefused: Kind(
            403,
            "cookie-refused",
            "Your browser refused our cookie",
            "So this can't count: the cookie is all that keeps one reader to one vote. It holds a random number and nothing"
            " about you. Allow cookies for this site, go back, and press the button again.",
        ),
    }
)

PageQuery = TypeVar("PageQuery", bound=Query)
Form = TypeVar("Form", bound=msgspec.Struct)


def page(path: str, takes: type[PageQuery]) -> Callable[[Callable[[Call, PageQuery], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function a page; `takes` is the Struct of its query, whose `after` the views have reached when it runs."""
    query = QueryReader(takes)
    check = checker(path)

    def made(function: Callable[[Call, PageQuery], Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            asked = query.read(request.scope["query_string"])
            await request.site.reach(asked.after)
            return await function(request, asked)

        return handler("GET", path)(handle)

    return made


def action(path: str, takes: type[Form]) -> Callable[[Callable[[Call, Form], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function what a visitor's form does; `takes` is the Struct of the form. Empty fields are as if not sent."""
    check = checker(path)

    def made(function: Callable[[Call, Form], Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            require_same_origin(request)
            visitor = find_visitor(request.head, request.site.tokens)
            if visitor is None:
                return await _introduce(request)
            request.visitor = visitor
            request.add_headers(tuple(await request.site.limit_write(visitor, request.network)))
            return await function(request, await read_form(request, takes))

        return handler("POST", path)(handle)

    return made


def handler(method: Any, path: str) -> Callable[[Callable[[Call], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function what is called for a method and a path."""
    litestar_path = re.sub(r"{(\w+)}", r"{\1:str}", path)
    return HTTPRouteHandler(litestar_path, http_method=method, name=f"{method} page {path}", status_code=200)


def post(path: str) -> Callable[[Callable[[Call], Awaitable[Answer]]], HTTPRouteHandler]:
    """Make a function what a form of this site does, whoever sends it."""
    check = checker(path)

    def made(function: Callable[[Call], Awaitable[Answer]]) -> HTTPRouteHandler:
        async def handle(request: Call) -> Answer:
            check(request)
            require_same_origin(request)
            return await function(request)

        return handler("POST", path)(handle)

    return made


def checker(path: str) -> Callable[[Call], None]:
    """Make what refuses (NotFound) a path whose parameters don't fit their patterns."""
    patterns = [(name, re.compile(PATH_PATTERNS[name])) for name in re.findall(r"{(\w+)}", path)]

    def check(call: Call) -> None:
        if not all(pattern.search(call.path[name]) for name, pattern in patterns):
            raise NotFound("Nothing is served at this path.")

    return check


def require_same_origin(call: Call) -> None:
    """Refuse what another site posted, by what browsers say of it and scripts can't change; NotFromHere.

    `Sec-Fetch-Site` where the browser sends it (it does over https and on loopback), else `Origin`, which all send with a POST.
    """
    site = call.head.get(b"sec-fetch-site")
    if site is not None:
        if site == b"same-origin":
            return
        raise NotFromHere("cross-site")
    origin = urlsplit(call.head.get(b"origin", b"").decode("latin-1")).netloc
    ours = {call.head.get(b"host", b"").decode("latin-1"), urlsplit(call.site.settings.base_url).netloc}
    if not origin or origin not in ours:
        raise NotFromHere("no origin of ours")


async def _introduce(call: Call) -> Answer:
    """Give the browser a visitor's cookie and send it here again; CookieRefused when that was done before."""
    if call.scope["query_string"] == _ASKED.encode():
        raise CookieRefused("no cookie came back")
    call.add_headers(tuple(await call.site.limit_new_visitor(call.network)))
    again = f"{call.scope['path']}?{_ASKED}".encode("ascii")
    return Bodiless(307, (cookie(call, call.site.tokens.issue(fresh_id())), (b"location", again), _NO_STORE))


async def read_form(call: Call, type_: type[Form]) -> Form:
    """Read a form of single values; empty ones are as if not sent, fields we don't know are ignored. BadInput."""
    if not is_form(call.head.get(b"content-type")):
        raise WrongMediaType("This takes a form.")
    known = {field.encode_name for field in msgspec.structs.fields(type_)}
    sent = fields(await call.read_body())
    values = {name: given[-1].replace("\r\n", "\n") for name, given in sent.items() if name in known and given[-1].strip()}
    try:
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as error:
        raise bad_input(error) from None


def back(path: str, position: int | None = None, said: str | None = None, fragment: str = "") -> Answer:
    """Send the browser on to a page of ours (303) that shows what was written at a position, and says a word about it."""
    extra = [f"after={position}"] if position else []
    extra += [f"said={said}"] if said else []
    if not path.startswith("/") or path.startswith("//") or "\\" in path:
        path = "/"
    target = path + (("&" if "?" in path else "?") + "&".join(extra) if extra else "") + (f"#{fragment}" if fragment else "")
    return Bodiless(303, ((b"location", target.encode("ascii", "ignore")), _NO_STORE))
