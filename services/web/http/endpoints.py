"""Endpoints: how a route of the API is written.

    @endpoint("PUT", "/v1/tools/{tool}/vote", by=VISITOR, takes=VoteChoice, gives=VoteAnswer, problems=(404, 409))
    async def cast(call: Call, vote: VoteChoice) -> VoteAnswer: ...

names caller, input, answer and refusals once, for the types, the checks made before the function runs, and the OpenAPI
document alike. The order is: origin, token, limits, path, body or query.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, Final, Literal, NamedTuple, TypedDict, TypeVar, Unpack, overload

import msgspec
from litestar._asgi import ASGIRouter
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, Receive, Send

from services.settings import OperatorToken
from services.web.http.answers import Answer, json_answer
from services.web.http.auth import bearer, require_operator, require_visitor
from services.web.http.bodies import BodyReader
from services.web.http.call import ANYONE, AnyCall, Call, Caller
from services.web.http.origins import refuse_foreign_pages, require_same_origin
from services.web.http.problems import FieldError, NotFound, NoToken
from services.web.http.queries import Query, QueryReader

BODY_LIMIT: Final = 64 * 1024
PATH_PATTERNS: Final[dict[str, str]] = {}
"""The parameters that a path may have, each with the pattern of its values. The site adds its own."""
PATH_TAILS: Final[set[str]] = set()
"""Those of them that take all the rest of a path, slashes and all."""

Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
Sender = Literal["page", "program", "anyone"]
"""Who sends a write: a page of ours; a program, or a page whose origin is admitted; anyone, where the write proves itself."""
_SENDERS: Final[dict[Sender, Callable[[Call], None] | None]] = {
    "page": require_same_origin,
    "program": refuse_foreign_pages,
    "anyone": None,
}
Input = TypeVar("Input", bound=msgspec.Struct)
Output = TypeVar("Output", bound=msgspec.Struct)


class Operation(NamedTuple):
    """An endpoint as declared: what the OpenAPI document says of it."""

    method: Method
    path: str
    takes: type[msgspec.Struct] | None
    gives: type[msgspec.Struct] | bytes
    summary: str
    by: Caller = ANYONE
    statuses: tuple[int, ...] = (200,)
    problems: tuple[int, ...] = ()
    max_body: int = BODY_LIMIT
    form: bool = False
    counted: bool = True
    proof: str = ""
    reads: type[msgspec.Struct] | None = None
    sent_by: Sender | None = None
    headers: Mapping[str, str] = {}
    streams: tuple[str, ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether the input is a body; else it is the query."""
        return self.takes is not None and self.method in ("PUT", "POST", "PATCH")

    @property
    def is_write(self) -> bool:
        """Whether the endpoint changes anything."""
        return self.method != "GET"

    @property
    def has_key(self) -> bool:
        """Whether the endpoint takes an Idempotency-Key."""
        return self.is_write and self.by != ANYONE

    @property
    def sender(self) -> Sender:
        """Who sends a write; by default a page of ours where another's could, since browsers ask us before they send JSON."""
        return self.sent_by or ("page" if self.method == "POST" and self.takes is None and self.by == ANYONE else "program")


class Options(TypedDict, total=False):
    """What an endpoint may declare beside input and output.

    `by` is who may call; `statuses` those that an answer can have, the first that of a Struct; `problems` those that its rules
    can refuse with, beside those that follow from caller and input; `max_body` the most bytes of a body; `form` lets a plain
    form send the body as well as JSON; `sent_by` is who sends a write; `counted=False` leaves it to the function to count an
    open one. The document alone reads `proof`, the scheme by which the function itself tells who calls, and `reads`, the Struct
    of a body that the function itself decodes, `headers`, those that it reads beside the usual ones, each with what it is, and
    `streams`, the media types that it answers with as well, if they are asked for.
    """

    by: Caller
    statuses: tuple[int, ...]
    problems: tuple[int, ...]
    max_body: int
    form: bool
    counted: bool
    proof: str
    reads: type[msgspec.Struct]
    sent_by: Sender
    headers: Mapping[str, str]
    streams: tuple[str, ...]


@overload
def endpoint(
    method: Method, path: str, *, gives: type[Output] | bytes, **options: Unpack[Options]
) -> Callable[[Callable[[AnyCall], Awaitable[Output | Answer]]], HTTPRouteHandler]: ...


@overload
def endpoint(
    method: Method, path: str, *, takes: type[Input], gives: type[Output] | bytes, **options: Unpack[Options]
) -> Callable[[Callable[[AnyCall, Input], Awaitable[Output | Answer]]], HTTPRouteHandler]: ...


def endpoint(
    method: Method, path: str, *, takes: type[Any] | None = None, gives: type[Any] | bytes, **options: Unpack[Options]
) -> Callable[[Callable[..., Awaitable[Any]]], HTTPRouteHandler]:
    """Register a function as an endpoint.

    `takes` is the Struct of the body (PUT, POST, PATCH) or of the query (GET, DELETE), whose `after` the views have reached
    when the function runs; `gives` is the Struct of the answer, or a media type where it isn't JSON.
    """

    def made(function: Callable[..., Awaitable[Any]]) -> HTTPRouteHandler:
        operation = Operation(method, path, takes, gives, cleandoc(function.__doc__ or path), **options)
        return route(method, path, f"{method} {path}", _handle(function, operation), operation=operation)

    return made


def route(method: Method, path: str, name: str, handle: Callable[[Call], Awaitable[Answer]], **opt: Any) -> HTTPRouteHandler:
    """Return what the router takes: a function under a method and a path."""
    pattern = re.sub(r"{(\w+)}", lambda name: f"{{{name[1]}:{'path' if name[1] in PATH_TAILS else 'str'}}}", path)
    return HTTPRouteHandler(pattern, http_method=method, name=name, opt=opt, status_code=200)(handle)


class Dispatch:
    """Has each request answered by the function of its route: an ASGI application. Litestar's router finds the route.

    This reaches under Litestar (2.25): its handlers would make a request and a response of their own and look for guards,
    dependencies and middleware, none of which our routes have, and every vote would pay for it.
    """

    def __init__(self, router: ASGIRouter, made: Callable[[HTTPScope, Receive], Call]) -> None:
        self._find = router.handle_routing
        self._made = made

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one request for a path in its normal form. Raises NotFoundException, MethodNotAllowedException."""
        _, found, _, scope["path_params"], scope["path_template"] = self._find(path=scope["path"], method=scope["method"])
        answer: Answer = await found.fn(self._made(scope, receive))
        await answer(scope, receive, send)


def path_patterns(path: str) -> list[tuple[str, re.Pattern[str]]]:
    """Return the names of a path's parameters with their patterns. Raises KeyError for one that the site hasn't added."""
    return [(name, re.compile(PATH_PATTERNS[name])) for name in re.findall(r"{(\w+)}", path)]


def _handle(function: Callable[..., Awaitable[Any]], operation: Operation) -> Callable[[Call], Awaitable[Answer]]:
    """Return what a route's requests are answered by. All that is known beforehand is looked up once."""
    status, by, is_write, has_key = operation.statuses[0], operation.by, operation.is_write, operation.has_key
    is_open, is_counted = by == ANYONE, is_write and operation.counted
    patterns = path_patterns(operation.path)
    body, query, has_after = _readers(operation)
    refuse = _SENDERS[operation.sender] if is_write else None

    async def handle(request: Call) -> Answer:
        if refuse is not None:
            refuse(request)
        if not is_open:
            await _admit(request, by, is_write)
        elif is_counted:
            request.add_headers(await request.site.limit_open_write(request.network))
        _require_path(request, patterns)
        if has_key:
            request.check_key()
        if body is not None:
            given = await function(request, body.read(request.head.get(b"content-type"), await request.read_body()))
        elif query is not None:
            asked = query.read(request.scope["query_string"])
            if has_after and asked.after is not None:
                await request.site.reach(asked.after, request.network)
            given = await function(request, asked)
        else:
            given = await function(request)
        return given if isinstance(given, Answer) else json_answer(given, status)

    return handle


def _readers(operation: Operation) -> tuple[BodyReader[Any] | None, QueryReader[Any] | None, bool]:
    """Return what reads an endpoint's body or query, and whether the query may name what the views have reached."""
    takes = operation.takes
    if takes is None:
        return None, None, False
    if operation.has_body:
        return BodyReader(takes, takes_forms=operation.form), None, False
    return None, QueryReader(takes), issubclass(takes, Query)


def _require_path(call: Call, patterns: Sequence[tuple[str, re.Pattern[str]]]) -> None:
    for name, pattern in patterns:
        if not pattern.search(call.path[name]):
            raise NotFound("No such path.", errors=[FieldError(f"/{name}", f"doesn't match {pattern.pattern}")])


def _operator(call: Call, scope: str) -> OperatorToken:
    """Return the calling operator; a wrong token is counted. Raises NoToken, MissingScope, TooManyRequests."""
    call.site.refuse_guesses(call.network)
    try:
        return require_operator(call.head, call.site.operators, scope)
    except NoToken:
        if bearer(call.head):
            call.site.note_guess(call.network, call.scope["path_template"])
        raise


async def _admit(call: Call, by: Caller, is_write: bool) -> None:
    """Note who calls, and count a visitor's write. Raises NoToken, MissingScope, TooManyRequests."""
    call.add_headers(by.cache)
    if by.kind == "operator":
        found = _operator(call, by.scope)
        call.operator, call.scopes = found.name, found.scopes
        return
    call.visitor = require_visitor(call.head, call.site.tokens)
    if is_write:
        if call.scope["method"] != "DELETE":  # taking back stays open to an erased visitor
            call.site.refuse_erased(call.visitor)
        call.add_headers(await call.site.limit_write(call.visitor, call.network))
