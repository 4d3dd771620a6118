"""Send one webhook to a stranger's server: to the very address that was checked, within ten seconds, whatever it answers.

No redirect is followed and no proxy of the environment is used. A name is looked up once, on a thread of its own, so that a
slow name server holds up its own webhook alone.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import Final

import certifi
import httpcore2 as httpcore
import msgspec

from services.clock import now
from services.webhooks.target import Target, TargetRefused, may_connect, read_target

DEADLINE: Final = 10.0
"""Seconds for all of it: name, connection, TLS, request and answer."""
CONNECT_SECONDS: Final = 4.0
MOST_ADDRESSES: Final = 4
MOST_READ: Final = 4096
"""Bytes of the answer's body, which nobody reads: it is taken so that an honest server isn't cut off."""
GONE: Final = 410

_AGENT: Final = f"Ballotpress-Webhooks/{version('ballotpress')}"

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a name; it may block. Raises OSError."""


class Reply(msgspec.Struct, frozen=True):
    """What came of a POST: why it failed, the status, and how many seconds the answer asks to wait.

    `failed` is None if it didn't, `status` 0 without an answer.
    """

    failed: str | None
    status: int = 0
    retry_after: float | None = None


class _Unreachable(Exception):
    """No connection can be made; the message says why."""


def look_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as this machine resolves it. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class _Names:
    """Looks names up on threads, one a name at a time: all who ask for a name meanwhile wait for the same answer."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def of(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name. Raises OSError."""
        key = host, port
        if key not in self._asked:
            loop = asyncio.get_running_loop()
            self._asked[key] = future = loop.create_future()
            future.add_done_callback(lambda done: self._forget(key, done))
            # A daemon: it can't be ended, and the process must not wait for a name server when it stops.
            threading.Thread(target=self._look_up, args=(loop, future, host, port), daemon=True).start()
        return await asyncio.shield(self._asked[key])

    def _forget(self, key: tuple[str, int], done: "asyncio.Future[Sequence[str]]") -> None:
        del self._asked[key]
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more

    def _look_up(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Sequence[str]]", host: str, port: int) -> None:
        try:
            found: Sequence[str] | OSError = self._resolve(host, port)
        except OSError as error:
            found = error
        except UnicodeError as error:  # what IDNA refuses
            found = OSError(str(error))

        def tell() -> None:
            if future.done():
                return
            if isinstance(found, OSError):
                future.set_exception(found)
            else:
                future.set_result(found)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop has ended meanwhile
            return


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that it has looked up and checked itself, and to no others."""

    def __init__(self, names: _Names, *, allow_loopback: bool) -> None:
        self._names = names
        self._allow_loopback = allow_loopback
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: "Iterable[httpcore.SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of a name's addresses that answers. Raises _Unreachable."""
        failed: Exception | None = None
        for address in (await self._addresses(host, port))[:MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise _Unreachable("it takes no connection") from failed

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name, each in one spelling; all must be public. Raises _Unreachable."""
        try:
            found = [ip_address(address) for address in await self._names.of(host, port)]
        except (OSError, ValueError):
            found = []
        if not found:
            raise _Unreachable("its name leads to no address")
        for address in found:
            if not (may_connect(address) or (self._allow_loopback and address.is_loopback)):
                raise _Unreachable("its name leads to an address that isn't public")
        return [str(address) for address in found]


def public_authorities() -> ssl.SSLContext:
    """Return the settings of TLS: the public authorities, and a certificate for the very name."""
    return ssl.create_default_context(cafile=certifi.where())


class Poster:
    """Sends webhooks. `resolve` and `context` are the machine's names and the public authorities, unless a test has its own."""

    def __init__(
        self, *, allow_loopback: bool = False, resolve: Resolve = look_up, context: ssl.SSLContext | None = None
    ) -> None:
        self._allow_loopback = allow_loopback
        self._network = _CheckedNetwork(_Names(resolve), allow_loopback=allow_loopback)
        self._context = context or public_authorities()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a body, and return what came of it: whatever goes wrong is a reply too."""
        try:
            target = read_target(url, allow_loopback=self._allow_loopback)
            async with asyncio.timeout(DEADLINE):
                return await self._send(target, headers, body)
        except TargetRefused as refusal:
            return Reply(f"its address {refusal}")
        except TimeoutError:
            return Reply(f"it took longer than {DEADLINE:.0f} seconds")
        except _Unreachable as error:
            return Reply(str(error))
        except (httpcore.ConnectError, httpcore.ConnectTimeout, ssl.SSLError) as error:
            return Reply(f"TLS fails: {_said(error)}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Reply(f"it broke off: {_said(error)}")

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        url = httpcore.URL(
            scheme=b"https" if target.is_https else b"http",
            host=target.host.encode("ascii"),
            port=target.port,
            target=target.path.encode("ascii"),
        )
        sent = {"content-type": "application/json", "user-agent": _AGENT, **headers}
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._context, max_connections=1, max_keepalive_connections=0, network_backend=self._network
            ) as pool,
            pool.stream("POST", url, headers=list(sent.items()), content=body) as answer,
        ):
            size = 0
            async for piece in answer.aiter_stream():
                size += len(piece)
                if size >= MOST_READ:
                    break
            return _judged(answer.status, dict(answer.headers))


def _said(error: BaseException) -> str:
    """Return an error in at most a line."""
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _judged(status: int, headers: Mapping[bytes, bytes]) -> Reply:
    if 200 <= status < 300:
        return Reply(None, status)
    why = {GONE: "it is gone for good (410)"}.get(status, f"it answered {status}")
    if 300 <= status < 400:
        why += ", and no redirect is followed"
    return Reply(why, status, _retry_after(headers))


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds that an answer asks to wait (RFC 9110, 10.2.3); None if it says nothing that can be read."""
    said = {name.lower(): value for name, value in headers.items()}.get(b"retry-after", b"").decode("latin-1").strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except (ValueError, OverflowError):  # a year, an hour or a zone beyond what a machine counts in is no date either
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now().timestamp())
