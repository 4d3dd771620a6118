"""Endpoints: how a route is written.

    @endpoint("PUT", "/v1/tools/{tool}/vote", by=VISITOR, takes=VoteChoice, gives=VoteAnswer, problems=(404, 409))
    async def cast(call: Call, vote: VoteChoice) -> VoteAnswer: ...

names caller, input, answer and refusals once, for the types, the checks made before the function runs, and the OpenAPI
document alike. The order is: token, limits, path, body or query.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from inspect import cleandoc
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast, overload

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from events.log.command import IdempotencyKey
from services.web.http.answers import Answer, json_answer
from services.web.http.auth import require_operator, require_visitor
from services.web.http.bodies import ID, SLUG, BodyReader
from services.web.http.conditional import NO_STORE, PRIVATE
from services.web.http.forms import FormReader
from services.web.http.problems import BadInput, BodyTooSlow, FieldError, NotFound
from services.web.http.queries import QueryReader
from services.web.site import Site

Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
Taken = TypeVar("Taken", bound=msgspec.Struct)
Given = TypeVar("Given", bound=msgspec.Struct)

PAIR: Final = r"^[a-z0-9-]{1,120}-vs-[a-z0-9-]{1,120}$(?!\n)"
PATH_PATTERNS: Final[Mapping[str, str]] = {
    "tool": SLUG,
    "pair": PAIR,
    "persona": r"^[^/\x00-\x20A-Z][^/\x00-\x1fA-Z]{0,79}$(?!\n)",
    "id": ID,
    "visitor": ID,
    "mail": r"^[A-Za-z0-9_-]{1,160}$(?!\n)",
    "problem": r"^[a-z-]{1,40}$(?!\n)",
    "number": r"^[1-9][0-9]{0,8}$(?!\n)",
}
BODY_SECONDS: Final = 20.0
_TOO_SLOW: Final = f"The body didn't arrive within {BODY_SECONDS:g} seconds."
KEY: Final = r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$"
_KEY: Final = re.compile(KEY.encode("ascii"))


class Caller(NamedTuple):
    """Who may call a route: anyone, a visitor, or an operator with a scope; and who may keep its answers, refusals included."""

    kind: Literal["anyone", "visitor", "operator"]
    scope: str = ""
    cache: tuple[tuple[bytes, bytes], ...] = ()


ANYONE: Final = Caller("anyone")
VISITOR: Final = Caller("visitor", cache=PRIVATE)
AUTHOR: Final = Caller("visitor", cache=NO_STORE)


def operator(scope: str) -> Caller:
    """Admit operators whose token carries the scope."""
    return Caller("operator", scope, NO_STORE)


class ClientGone(Exception):
    """The caller hung up before its request had arrived; there is nobody to answer."""


class Call(Request[None, None, State]):
    """One request, as routes see it. `visitor` or `operator` is who calls, where the route demands one."""

    __slots__ = ("body_bytes", "operator", "visitor")

    visitor: str
    operator: str
    body_bytes: bytes

    @property
    def site(self) -> Site:
        """What this process works with."""
        return self.scope["site"]  # type: ignore[typeddict-item, no-any-return]

    @property
    def head(self) -> Mapping[bytes, bytes]:
        """The request's headers; of one that is repeated, the last."""
        return self.scope["head"]  # type: ignore[typeddict-item, no-any-return]

    @property
    def request_id(self) -> str:
        """The id of this request in answer and logs."""
        return self.scope["request_id"]  # type: ignore[typeddict-item, no-any-return]

    @property
    def path(self) -> Mapping[str, str]:
        """The path's parameters, already known to fit their patterns."""
        return self.scope["path_params"]

    @property
    def network(self) -> str:
        """The network the caller counts as."""
        forwarded = [value for name, value in self.scope["headers"] if name == b"x-forwarded-for"]
        client = self.scope["client"]
        return self.site.networks.name(client[0] if client else "", forwarded)

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key, 1 to 255 visible characters; BadInput."""
        key = self.head.get(b"idempotency-key")
        if key is None:
            return None
        if not _KEY.fullmatch(key):
            raise BadInput.at("/Idempotency-Key", "must be 1 to 255 visible ASCII characters")
        return key.decode("ascii")

    @property
    def key(self) -> IdempotencyKey | None:
        """The Idempotency-Key with whose it is and a fingerprint of all that is asked; BadInput."""
        text = self.idempotency_key
        if text is None:
            return None
        scope = self.scope
        asked = b"\0".join((scope["method"].encode(), scope["path"].encode(), getattr(self, "body_bytes", b"")))
        caller = getattr(self, "visitor", None) or f"operator {self.operator}"
        return IdempotencyKey(caller, text, blake2b(asked, digest_size=16).digest())

    def add_headers(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """Add headers to whatever this call will be answered."""
        self.scope["more_headers"] += headers  # type: ignore[typeddict-item]

    async def read_body(self) -> bytes:
        """Take the whole body from the connection, and keep it as `body_bytes`; BodyTooLarge, BodyTooSlow."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        # asyncio.timeout would do the same for three times the price, and every vote has a body.
        patience = asyncio.get_running_loop().call_later(BODY_SECONDS, task.cancel, _TOO_SLOW)
        try:
            self.body_bytes = await self._received()
        except asyncio.CancelledError as error:
            if error.args != (_TOO_SLOW,):
                raise
            task.uncancel()
            raise BodyTooSlow(_TOO_SLOW) from None
        finally:
            patience.cancel()
        return self.body_bytes

    async def _received(self) -> bytes:
        chunks = []
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunks.append(message["body"])
            if not message.get("more_body"):
                return b"".join(chunks) if len(chunks) > 1 else chunks[0]


class Operation(NamedTuple):
    """What the OpenAPI document says of an endpoint."""

    method: Method
    path: str
    by: Caller
    takes: type[msgspec.Struct] | None
    gives: type[msgspec.Struct] | bytes
    statuses: tuple[int, ...]
    problems: frozenset[int]
    summary: str
    name: str
    is_form: bool = False

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


Plain = Callable[[Call], Awaitable[Given | Answer]]
Taking = Callable[[Call, Taken], Awaitable[Given | Answer]]


@overload
def endpoint(
    method: Method,
    path: str,
    *,
    gives: type[Given],
    by: Caller = ...,
    statuses: tuple[int, ...] = ...,
    problems: tuple[int, ...] = ...,
) -> Callable[[Plain[Given]], HTTPRouteHandler]: ...


@overload
def endpoint(
    method: Method,
    path: str,
    *,
    gives: bytes,
    by: Caller = ...,
    statuses: tuple[int, ...] = ...,
    problems: tuple[int, ...] = ...,
) -> Callable[[Callable[[Call], Awaitable[Answer]]], HTTPRouteHandler]: ...


@overload
def endpoint(
    method: Method,
    path: str,
    *,
    takes: type[Taken],
    gives: bytes,
    by: Caller = ...,
    statuses: tuple[int, ...] = ...,
    problems: tuple[int, ...] = ...,
) -> Callable[[Callable[[Call, Taken], Awaitable[Answer]]], HTTPRouteHandler]: ...


@overload
def endpoint(
    method: Method,
    path: str,
    *,
    takes: type[Taken],
    gives: type[Given],
    by: Caller = ...,
    statuses: tuple[int, ...] = ...,
    problems: tuple[int, ...] = ...,
    form: bool = ...,
) -> Callable[[Taking[Taken, Given]], HTTPRouteHandler]: ...


def endpoint(
    method: Method,
    path: str,
    *,
    takes: type[Any] | None = None,
    gives: type[Any] | bytes,
    by: Caller = ANYONE,
    statuses: tuple[int, ...] = (200,),
    problems: tuple[int, ...] = (),
    form: bool = False,
) -> Callable[[Callable[..., Awaitable[Any]]], HTTPRouteHandler]:
    """Make a function an endpoint.

    `takes` is the Struct of the body (PUT, POST, PATCH) or of the query (GET, DELETE); `gives` the Struct of the answer,
    or a media type where it isn't JSON; `statuses` those it can have, first the one that a Struct is answered with;
    `problems` those that its rules can refuse with, beside those that follow from caller and input; `form` lets a plain
    form send the body as well.
    """

    def made(function: Callable[..., Awaitable[Any]]) -> HTTPRouteHandler:
        name = getattr(function, "__name__", path)
        summary = cleandoc(function.__doc__ or name)
        operation = Operation(method, path, by, takes, gives, statuses, frozenset(problems), summary, name, form)
        handler = HTTPRouteHandler(
            _litestar_path(path), http_method=method, name=f"{method} {path}", opt={"operation": operation}, status_code=200
        )
        return handler(_handle(function, operation))

    return made


def _handle(function: Callable[..., Awaitable[Any]], operation: Operation) -> Callable[[Call], Awaitable[Answer]]:
    """Make what Litestar calls: everything that is known of an endpoint is looked up here, once."""
    takes, status = operation.takes, operation.statuses[0]
    reader = FormReader if operation.is_form else BodyReader
    body = reader(takes) if takes and operation.has_body else None
    query = QueryReader(takes) if takes and not operation.has_body else None
    patterns = [(name, re.compile(PATH_PATTERNS[name])) for name in re.findall(r"{(\w+)}", operation.path)]
    is_visitors, is_operators = operation.by.kind == "visitor", operation.by.kind == "operator"
    is_limited = is_visitors and operation.is_write
    cache = operation.by.cache

    async def handle(request: Call) -> Answer:
        if cache:
            request.add_headers(cache)
        if is_visitors:
            request.visitor = require_visitor(request.head, request.site.tokens)
            if is_limited:
                request.add_headers(await request.site.limit_write(request.visitor, request.network))
        elif is_operators:
            request.operator = require_operator(request.head, request.site.operators, operation.by.scope)
        for name, pattern in patterns:
            if not pattern.search(request.path[name]):
                raise NotFound("No such path.", errors=[FieldError(f"/{name}", f"doesn't match {pattern.pattern}")])
        if body is not None:
            given = await function(request, body.read(request.head.get(b"content-type"), await request.read_body()))
        elif query is not None:
            given = await function(request, query.read(request.scope["query_string"]))
        else:
            given = await function(request)
        return given if isinstance(given, Answer) else json_answer(given, status)

    return handle


def _litestar_path(path: str) -> str:
    return re.sub(r"{(\w+)}", r"{\1:str}", path)
