"""Send one webhook to a stranger's server: to the very address that was checked, within ten seconds, whatever it answers.

No redirect is followed and no proxy of the environment is used. A name is looked up once, on a thread of its own, so that a
slow name server holds up its own webhook alone.
"""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import certifi
import msgspec

from services.clock import now
from services.webhooks.names import Names, Resolve, Unreachable, look_up
from services.webhooks.target import Target, TargetRefused, read_target

if TYPE_CHECKING:
    from services.webhooks.network import CheckedNetwork

DEADLINE: Final = 10.0
"""Seconds for all of it: name, connection, TLS, request and answer."""
MOST_READ: Final = 4096
"""Bytes of the answer's body, which nobody reads: it is taken so that an honest server isn't cut off."""
GONE: Final = 410

_AGENT: Final = f"Ballotpress-Webhooks/{version('ballotpress')}"


class Reply(msgspec.Struct, frozen=True):
    """What came of a POST: why it failed, the status, and how many seconds the answer asks to wait.

    `failed` is None if it didn't, `status` 0 without an answer.
    """

    failed: str | None
    status: int = 0
    retry_after: float | None = None


def public_authorities() -> ssl.SSLContext:
    """Return the settings of TLS: the public authorities, and a certificate for the very name."""
    return ssl.create_default_context(cafile=certifi.where())


class Poster:
    """Sends webhooks. `resolve` and `context` are the machine's names and the public authorities, unless a test has its own."""

    def __init__(
        self, *, allow_loopback: bool = False, resolve: Resolve = look_up, context: ssl.SSLContext | None = None
    ) -> None:
        self._allow_loopback = allow_loopback
        self._names = Names(resolve)
        self._given = context

    @cached_property
    def _network(self) -> "CheckedNetwork":
        from services.webhooks.network import CheckedNetwork

        return CheckedNetwork(self._names, allow_loopback=self._allow_loopback)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._given or public_authorities()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send a body, and return what came of it: whatever goes wrong is a reply too."""
        import httpcore2 as httpcore

        context, network = self._context, self._network  # what the first one has to load takes nothing from its time
        try:
            target = read_target(url, allow_loopback=self._allow_loopback)
            async with asyncio.timeout(DEADLINE):
                return await _send(target, headers, body, context, network)
        except TargetRefused as refusal:
            return Reply(f"its address {refusal}")
        except TimeoutError:
            return Reply(f"it took longer than {DEADLINE:.0f} seconds")
        except Unreachable as error:
            return Reply(str(error))
        except (httpcore.ConnectError, httpcore.ConnectTimeout, ssl.SSLError) as error:
            return Reply(f"TLS fails: {_said(error)}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Reply(f"it broke off: {_said(error)}")


async def _send(
    target: Target, headers: Mapping[str, str], body: bytes, context: ssl.SSLContext, network: "CheckedNetwork"
) -> Reply:
    import httpcore2 as httpcore

    url = httpcore.URL(
        scheme=b"https" if target.is_https else b"http",
        host=target.host.encode("ascii"),
        port=target.port,
        target=target.path.encode("ascii"),
    )
    sent = {"content-type": "application/json", "user-agent": _AGENT, **headers}
    async with (
        httpcore.AsyncConnectionPool(
            ssl_context=context, max_connections=1, max_keepalive_connections=0, network_backend=network
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
