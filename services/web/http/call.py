"""Calls: a request as endpoints and pages see it, and who may make one."""

import asyncio
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeVar, cast

from litestar import Request
from litestar.datastructures import State
from litestar.types import HTTPScope, Receive, ReceiveMessage

from events.log.command import IdempotencyKey
from services.operators.sessions import Sessions, SignedIn
from services.settings import Settings
from services.web.http.admission import Admission
from services.web.http.answers import NO_STORE, PRIVATE
from services.web.http.auth import BegunSignIns, OperatorTokens, SessionCookies, VisitorTokens
from services.web.http.counters import Headers
from services.web.http.cursors import Cursors
from services.web.http.metrics import Metrics
from services.web.http.networks import Network, Networks
from services.web.http.patience import TOO_SLOW, Patience
from services.web.http.problems import BadInput, BodyBroken, BodyTooSlow
from services.web.http.theme import Theme

if TYPE_CHECKING:
    from services.tracing.tracing import Tracing

BODY_SECONDS: Final = 8.0
LEAST_PACE: Final = 512 * 1024
"""Bytes a second at which what has come of a body must have come, once `BODY_SECONDS` are over."""
KEY: Final = r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$"
_KEY: Final = re.compile(KEY.encode("ascii"))


class Site(Protocol):
    """What this kit needs of the process that serves a call; the process' own class holds much more."""

    settings: Settings
    tokens: VisitorTokens
    operators: OperatorTokens
    sessions: Sessions
    session_cookies: SessionCookies
    begun_sign_ins: BegunSignIns
    cursors: Cursors
    networks: Networks
    metrics: Metrics
    tracing: "Tracing | None"
    admission: Admission
    patience: Patience
    theme: Theme
    is_leaving: bool
    is_migrated: bool

    async def reach(self, position: int, network: Network) -> None:
        """Wait until the views have reached a position."""

    async def limit_write(self, visitor: str, network: Network) -> Headers:
        """Count a visitor's write. Raises TooManyRequests."""

    async def limit_open_write(self, network: Network) -> Headers:
        """Count a write of nobody in particular. Raises TooManyRequests."""

    async def limit_new_visitor(self, network: Network) -> Headers:
        """Count a visitor that is about to be created. Raises TooManyRequests."""

    def is_erased(self, visitor: str) -> bool:
        """Tell whether a visitor was erased: it writes nothing any more."""

    def refuse_erased(self, visitor: str) -> None:
        """Refuse a write of an erased visitor."""

    def refuse_guesses(self, network: Network) -> None:
        """Refuse a network that tried too many wrong operators' tokens. Raises TooManyRequests."""

    def note_guess(self, network: Network, route: str) -> None:
        """Count, log and measure a wrong operator's token."""


class Caller(NamedTuple):
    """Who may call a route (anyone, a visitor, an operator with a scope) and who may keep its answers, refusals included."""

    kind: Literal["anyone", "visitor", "operator"]
    scope: str = ""
    cache: tuple[tuple[bytes, bytes], ...] = ()


ANYONE: Final = Caller("anyone")
VISITOR: Final = Caller("visitor", cache=PRIVATE)
AUTHOR: Final = Caller("visitor", cache=NO_STORE)


def operator(scope: str) -> Caller:
    """Admit operators with the scope; all of them if it is empty."""
    return Caller("operator", scope, NO_STORE)


class Call(Request[None, None, State]):
    """One request. `visitor` or `operator` names the caller where the route demands one, `scopes` are an operator's.

    It is a Request because Litestar wants a route's parameter to be one, and has nothing else of it: to fill that in costs more
    than all that a call needs.
    """

    __slots__ = ("_network", "body_bytes", "head", "operator", "path", "scopes", "site", "visitor")

    site: Site
    """What this process works with."""
    head: Mapping[bytes, bytes]
    """The request's headers; of one that is repeated, the last."""
    path: Mapping[str, str]
    """The path's parameters, already known to fit their patterns."""
    visitor: str
    operator: str
    scopes: frozenset[str]
    body_bytes: bytes

    def __init__(self, scope: HTTPScope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.site = scope["site"]  # type: ignore[typeddict-item]
        self.head = scope["head"]  # type: ignore[typeddict-item]
        self.path = scope["path_params"]
        self._network: Network | None = None

    @property
    def signed_in(self) -> SignedIn:
        """The operator who has signed in, on operators' pages; kept for the page of a refusal too."""
        return self.scope["signed_in"]  # type: ignore[typeddict-item, no-any-return]

    @signed_in.setter
    def signed_in(self, operator: SignedIn) -> None:
        self.scope["signed_in"] = operator  # type: ignore[typeddict-unknown-key]

    @property
    def is_head(self) -> bool:
        """Whether a HEAD asks for what the edge has a GET answer."""
        return self.scope["is_head"]  # type: ignore[typeddict-item, no-any-return]

    @property
    def network(self) -> Network:
        """The network the caller counts as. A vote asks for it three times."""
        if self._network is None:
            forwarded = [value for name, value in self.scope["headers"] if name == b"x-forwarded-for"]
            client = self.scope["client"]
            self._network = self.site.networks.of(client[0] if client else "", forwarded)
        return self._network

    @property
    def key(self) -> IdempotencyKey | None:
        """The Idempotency-Key, scoped to the caller, with a fingerprint of the request. Raises BadInput."""
        key = self.head.get(b"idempotency-key")
        if key is None:
            return None
        self.check_key()
        scope = self.scope
        target = scope["path"].encode() + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        asked = b"\0".join((scope["method"].encode(), target, getattr(self, "body_bytes", b"")))
        caller = getattr(self, "visitor", None) or f"operator {self.operator}"
        return IdempotencyKey(caller, key.decode("ascii"), blake2b(asked, digest_size=16).digest())

    def check_key(self) -> None:
        """Check how the Idempotency-Key is spelled, if there is one. Raises BadInput."""
        key = self.head.get(b"idempotency-key")
        if key is not None and not _KEY.fullmatch(key):
            raise BadInput.at("/Idempotency-Key", "must be 1 to 255 visible ASCII characters")

    def add_headers(self, headers: Headers) -> None:
        """Add headers to the answer, be it a refusal."""
        self.scope["more_headers"] += headers  # type: ignore[typeddict-item]

    def add_limits(self, headers: Headers) -> None:
        """Add the headers of a limit, in place of those of one that was counted before."""
        others = [(name, value) for name, value in self.scope["more_headers"] if not name.startswith(b"ratelimit")]  # type: ignore[typeddict-item]
        self.scope["more_headers"] = (*others, *headers)  # type: ignore[typeddict-unknown-key]

    async def read_body(self) -> bytes:
        """Read the whole body from the connection and keep it as `body_bytes`. Raises BodyTooLarge, BodyTooSlow, BodyBroken."""
        patience = self.site.patience
        body = _Body(patience.loop)
        patience.begin(body)
        try:
            while body.take(await self.receive()):
                pass
        except asyncio.CancelledError as error:
            if error.args != (TOO_SLOW,):
                raise
            body.task.uncancel()
            raise BodyTooSlow(TOO_SLOW) from None
        finally:
            patience.end(body)
        self.body_bytes = body.whole()
        return self.body_bytes


class _Body:
    """A body on its way, read by the present task."""

    __slots__ = ("_began", "_chunks", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task = cast("asyncio.Task[object]", asyncio.current_task(loop))
        self._began = loop.time()
        self._chunks: list[bytes] = []

    def is_late(self, now: float) -> bool:
        """Return whether more should have come. A large body has its pace; a silent one gets no more time for its length."""
        return now > self._began + BODY_SECONDS + sum(map(len, self._chunks)) / LEAST_PACE

    def take(self, message: ReceiveMessage) -> bool:
        """Take in what has come, and return whether there is more. Raises BodyBroken."""
        if message["type"] != "http.request":
            raise BodyBroken("")
        self._chunks.append(message["body"])
        return message.get("more_body", False)

    def whole(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._chunks)


AnyCall = TypeVar("AnyCall", bound=Call)
"""The call of a process' own class, whose `site` has more than the kit needs."""
