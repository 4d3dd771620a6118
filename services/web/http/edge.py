"""The edge: the outermost wrapper of every request.

Request ids, security headers, CORS, HEAD, limits on bodies, refusals, the access log and metrics are handled in one pass,
because each layer of middleware costs every vote. Exceptions end here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from logging import DEBUG
from secrets import token_hex
from time import perf_counter
from typing import Any, Final

import structlog
from litestar.enums import HttpMethod, ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPResponseStartEvent, HTTPScope, Message, Receive, Scope, Send

from services.logs import request_id as logged_request_id
from services.web.http.admission import Admission, Place, Sampler, waited
from services.web.http.answers import Answer, EmptyAnswer
from services.web.http.call import Site
from services.web.http.endpoints import BODY_LIMIT, Dispatch, Operation
from services.web.http.problems import (
    LACKING,
    BadInput,
    BodyTooLarge,
    HeadTooLarge,
    NotFound,
    Overloaded,
    Unmigrated,
    Unread,
    kind_of,
    problem_answer,
)
from services.web.http.receiving import answer_and_drain, counted
from services.web.http.shared import is_shared

SLOW_SECONDS: Final = 1.0
METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "_OTHER"  # OpenTelemetry's word for any other, which callers spell as they like: logs and metrics hold it too
HEAD_LIMIT: Final = 32 * 1024

_EXPOSED: Final = b"ETag, Link, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
CSP: Final = b"content-security-policy"
_OF_OTHERS: Final = ((CSP, b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),)
_OF_PAGES: Final = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
# What depends on who asks: the request's own id, and whether its origin may read the answer.
_OF_ONE: Final = frozenset(
    b"vary x-request-id access-control-allow-origin access-control-allow-credentials access-control-expose-headers".split()
)
_NO_STORE: Final = (b"cache-control", b"no-store")
_FOR_US_ALONE: Final = (b"cross-origin-resource-policy", b"same-origin")
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# A path in its one spelling (RFC 3986, 6.2.2): no empty or dot segment, no slash at its end, nothing encoded that needn't be,
# no encoded slash. A second spelling would slip past a proxy's rule for the first. Python before 3.11.5, which Debian 12 has,
# matches more than it should where a group is repeated possessively: of one set of characters it doesn't.
_NORMAL: Final = re.compile(
    rb"/|(?:/(?!\.\.?(?:/|$))"
    rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]++|%(?!2[DEF]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)[0-9A-F]{2})+)+"
)
# The characters of a host and a port (RFC 3986, 3.2).
_HOST: Final = re.compile(rb"[A-Za-z0-9!$&'()*+,;=\-._~:\[\]@%]*")
_CLOSE: Final = (b"connection", b"close")
_CHUNKS: Final = b"transfer-encoding"


class StreamOver(Exception):
    """An answer that would go on streaming to nobody, to a HEAD, ends here."""


Refuse = Callable[[Exception, str, HTTPScope, Mapping[bytes, bytes]], Answer]
"""Returns the answer to an exception, given the request's id, scope and headers."""


class Edge:
    """Wraps what answers requests; an ASGI application for HTTP alone."""

    def __init__(
        self, app: Dispatch, site: Site, refusal: Refuse, limits: Mapping[str, int], open_paths: tuple[str, ...]
    ) -> None:
        self._app = app
        self._refusal = refusal
        self._limits = limits
        self._open_paths = open_paths
        self._site = site
        self._log = structlog.get_logger().bind()
        self._logs_all = self._log.is_enabled_for(DEBUG)
        self._origins = frozenset(origin.encode("ascii") for origin in site.settings.cors_origins)
        self._headers = _standing_headers(site)
        self._ids = _numbered_ids()
        self._admission: Admission = site.admission
        self._note = site.metrics.requests.note
        self._tracing = None if site.tracing is None else site.tracing.requests
        self._sampler = Sampler()
        self._too_busy = problem_answer(Overloaded(""), None)  # made once, for people too: it must cost next to nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != ScopeType.HTTP:
            raise ValueError("only HTTP is served")
        started = perf_counter()
        extra: dict[str, Any] = scope  # type: ignore[assignment]
        extra["site"] = self._site
        extra["head"] = head = dict(scope["headers"])
        extra["request_id"] = request_id = self._request_id(head)
        extra["more_headers"] = ()
        method = scope["method"] if scope["method"] in METHODS else OTHER
        span = None if self._tracing is None else self._tracing.begin(head)
        place = self._admission.enter(method, scope["path"], started, waited(started))
        extra["is_head"] = is_head = method == "HEAD"
        outgoing = _Outgoing(send, extra, self._headers_for(scope, head, request_id), place, is_head=is_head)
        if is_head:
            scope["method"] = HttpMethod.GET
        try:
            if place is None:
                extra["path_template"] = "refused"
                await self._too_busy(scope, receive, outgoing.send)
            else:
                await self._serve(scope, head, receive, outgoing.send)
        except Exception as error:
            await self._refuse(error, scope, receive, outgoing, request_id)
        ended = outgoing.began or perf_counter()
        outgoing.leave(ended)  # the caller may have gone before the answer began
        route = extra.get("path_template", "unmatched")
        trace = None if self._tracing is None or span is None else self._tracing.end(span, method, route, outgoing.status)
        self._record(method, route, outgoing, ended - started, trace)

    async def _serve(self, scope: HTTPScope, head: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        _check_head(scope, head)
        if not _NORMAL.fullmatch(scope["raw_path"]):
            raise NotFound("Nothing is served at this path.")
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in head and self._is_open(scope):
            await _OPEN_PREFLIGHT(scope, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in head and self._is_admitted(head):
            await _PREFLIGHT(scope, receive, send)
        else:
            await self._app(scope, self._bounded(scope, head, receive), send)

    def _record(self, method: str, route: str, outgoing: "_Outgoing", seconds: float, trace: str | None) -> None:
        """Count a request, and log it where it matters. Its time ends as the answer begins: streams go on for hours."""
        status = outgoing.status
        self._note(method, route, status, seconds, trace)
        if status >= 500 or seconds > SLOW_SECONDS:
            log, left_out = self._log.warning, self._sampler.left_out(perf_counter())
        elif self._logs_all:
            log, left_out = self._log.debug, 0
        else:
            return
        if left_out is not None:
            said = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6), "error": outgoing.error}
            log("answered", **said, **({"left_out": left_out} if left_out else {}))

    async def _refuse(
        self, error: Exception, scope: HTTPScope, receive: Receive, outgoing: "_Outgoing", request_id: str
    ) -> None:
        """Answer an exception; an answer that has already begun can only be broken off."""
        if outgoing.is_complete or isinstance(error, StreamOver):
            return
        if outgoing.status:
            self._log.error("answer broken off", exc_info=error)
            raise error
        if isinstance(error, LACKING) and not self._site.is_migrated:
            error = Unmigrated(str(error))
        status = kind_of(error).status
        if status == 500:
            self._log.error("request failed", route=scope.get("path_template", "unmatched"), exc_info=error)
        elif status > 500:
            outgoing.error = repr(error)
        if isinstance(error, Unread):
            outgoing.close()
        answer = self._refusal(error, request_id, scope, dict(scope["headers"]))
        if isinstance(error, BodyTooLarge) and not outgoing.is_head:
            await answer_and_drain(answer, scope, receive, outgoing.send)
        else:
            await answer(scope, receive, outgoing.send)

    def _request_id(self, head: Mapping[bytes, bytes]) -> str:
        given = head.get(b"x-request-id")
        request_id = given.decode("ascii") if given and _SANE_ID.fullmatch(given) else next(self._ids)
        logged_request_id.set(request_id)
        return request_id

    def _bounded(self, scope: HTTPScope, head: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """Refuse a body over its endpoint's limit: by its announced length, else by counting. Raises BodyTooLarge."""
        length = head.get(b"content-length")
        if length is None:
            return receive if scope["method"] == "GET" else counted(receive, self._limit_of(scope))
        if len(length) > 4 and int(length[:20]) > self._limit_of(scope):
            raise BodyTooLarge(f"A body may have {self._limit_of(scope)} bytes here.")
        return receive

    def _limit_of(self, scope: HTTPScope) -> int:
        return self._limits.get(scope["path"], BODY_LIMIT)

    def _is_admitted(self, head: Mapping[bytes, bytes]) -> bool:
        return head.get(b"origin") in self._origins

    def _is_open(self, scope: HTTPScope) -> bool:
        return scope["path"].startswith(self._open_paths)

    def _headers_for(self, scope: HTTPScope, head: Mapping[bytes, bytes], request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [*self._headers, (b"x-request-id", request_id.encode("ascii"))]
        if self._site.is_leaving or _CHUNKS in head:  # the server hides a length beside chunks (RFC 9112, 6.1): read no further
            headers.append(_CLOSE)
        if self._is_open(scope):
            headers += _OPEN
        elif b"origin" in head and self._is_admitted(head):
            headers += [
                (b"access-control-allow-origin", head[b"origin"]),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        return headers


class _Outgoing:
    """Sends an answer with the edge's headers, without its body for HEAD, and remembers how it went."""

    __slots__ = ("_headers", "_place", "_scope", "_send", "began", "error", "is_complete", "is_head", "status")

    def __init__(
        self, send: Send, scope: dict[str, Any], headers: list[tuple[bytes, bytes]], place: Place | None, *, is_head: bool
    ) -> None:
        self._send = send
        self._scope = scope
        self._headers = headers
        self._place = place
        self.is_head = is_head
        self.began = 0.0
        self.error: str | None = None
        self.is_complete = False
        self.status = 0

    def close(self) -> None:
        """Have the server close the connection after the answer."""
        self._headers = [*self._headers, _CLOSE]

    def leave(self, now: float) -> None:
        """Free the request's place among those under way."""
        if self._place is not None:
            self._place.leave(now)
            self._place = None

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            message = self._with_headers(message)
        elif message["type"] == "http.response.body":
            has_more = message.get("more_body", False)
            if self.is_head:
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            self.is_complete = self.is_head or not has_more
            await self._send(message)
            if self.is_head and has_more:
                raise StreamOver
            return
        await self._send(message)

    def _with_headers(self, start: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        """Return a copy with more headers, because answers are shared. A page's own content policy stands.

        Nobody keeps an answer that doesn't say who may. Other sites can embed what is public and no page: our widget, images.
        An answer that a cache will give to others carries nothing of this one request.
        """
        self.began = perf_counter()
        self.leave(self.began)  # what goes on now is a stream, which waits for its caller
        self.status = start["status"]
        headers = [*start["headers"], *self._scope["more_headers"]]
        said = dict(headers)
        cache = said.get(b"cache-control")
        headers += [one for one in self._headers if one[0] not in _OF_ONE] if is_shared(cache) else self._headers
        headers += _OF_PAGES if CSP in said else _OF_OTHERS
        if cache is None:
            headers.append(_NO_STORE)
        if cache is None or CSP in said or not cache.startswith(b"public"):
            headers.append(_FOR_US_ALONE)
        return {"type": "http.response.start", "status": self.status, "headers": headers}


def _standing_headers(site: Site) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
    ]
    if site.settings.base_url.startswith("https:"):
        headers.append((b"strict-transport-security", b"max-age=31536000"))
    if site.settings.cors_origins:
        headers.append((b"vary", b"Origin"))
    if site.settings.crawlers == "none":
        headers.append((b"x-robots-tag", b"noindex, nofollow"))
    return headers


def _numbered_ids() -> Any:
    """Number requests under a random prefix of this process: unique, and cheaper than randomness each time."""
    prefix = token_hex(6)
    return (f"{prefix}-{number:x}" for number in count(1))


# The answer to a preflight request (Fetch, 4.8) from an admitted origin.
_PREFLIGHT: Final = EmptyAnswer(
    204,
    [
        (b"access-control-allow-methods", b"GET, HEAD, PUT, POST, PATCH, DELETE"),
        (
            b"access-control-allow-headers",
            b"Authorization, Ballotpress-Puzzle, Content-Type, Idempotency-Key, If-None-Match, X-Request-Id",
        ),
        (b"access-control-max-age", b"600"),
    ],
)


# The same for what every origin may read. No cookie goes along.
_OPEN_PREFLIGHT: Final = EmptyAnswer(
    204,
    [
        (b"access-control-allow-methods", b"GET, HEAD"),
        (b"access-control-allow-headers", b"If-None-Match, X-Request-Id"),
        (b"access-control-max-age", b"86400"),
    ],
)
_OPEN: Final = ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED))


def body_limits(routes: Sequence[HTTPRouteHandler]) -> dict[str, int]:
    """Return the paths whose bodies may be larger than usual, with their limits in bytes."""
    operations: list[Operation] = [route.opt["operation"] for route in routes]
    return {operation.path: operation.max_body for operation in operations if operation.max_body != BODY_LIMIT}


def _check_head(scope: HTTPScope, head: Mapping[bytes, bytes]) -> None:
    """Refuse a head that is too large, or that two servers could read in two ways. Raises BadInput, HeadTooLarge.

    The server has refused by itself what it can't read, and keeps a request without a Host as one with an empty one.
    """
    if sum(map(len, head)) + sum(map(len, head.values())) + len(scope["path"]) + len(scope["query_string"]) > HEAD_LIMIT:
        raise HeadTooLarge(f"Path, query and headers may have {HEAD_LIMIT} bytes.")
    host = head.get(b"host")
    if not host and scope["http_version"] == "1.1":
        raise BadInput.at("/Host", "must be sent")
    if host and not _HOST.fullmatch(host):
        raise BadInput.at("/Host", "must be a host's name or address, with a port or without")
    headers: list[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment] # every server gives a list
    if len(head) < len(headers) and [name for name, _ in headers].count(b"host") > 1:
        raise BadInput.at("/Host", "must be sent once")
    if head.get(_CHUNKS, b"chunked").lower() != b"chunked":
        raise BadInput.at("/Transfer-Encoding", "must be chunked, or left out")
