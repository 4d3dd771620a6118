"""Speaking to the provider: JSON by https, within ten seconds, of bounded size, and never where a redirect leads."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from services.authorities import trusted

if TYPE_CHECKING:
    import httpcore2 as httpcore

DEADLINE: Final = 10.0
"""Seconds for name, connection, TLS, request and answer."""
MOST_BYTES: Final = 256 * 1024
_AGENT: Final = f"Ballotpress/{version('ballotpress')}"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class ProviderAway(Exception):
    """The provider doesn't answer, or with nothing that can be used; the message says what it did, after its name."""


class ProviderRefuses(Exception):
    """The provider refuses what it was asked for; the argument is OAuth's word for why (RFC 6749, 5.2)."""


def is_address(url: object) -> bool:
    """Tell whether something is an address that may be asked: by https, or of this machine."""
    if not isinstance(url, str) or not url.isascii() or any(sign.isspace() for sign in url):
        return False
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    return is_safe and has_port and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment


class Web:
    """Asks addresses of the provider."""

    def __init__(self) -> None:
        self._context = trusted()

    async def get(self, url: str, headers: Mapping[str, str] = {}) -> dict[str, Any]:
        """Return the object at an address. Raises ProviderAway, ProviderRefuses."""
        return await self._ask("GET", url, headers)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str] = {}) -> dict[str, Any]:
        """Send a form and return the object that answers it. Raises ProviderAway, ProviderRefuses."""
        sent = {"content-type": "application/x-www-form-urlencoded", **headers}
        return await self._ask("POST", url, sent, urlencode(form).encode())

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> dict[str, Any]:
        import httpcore2 as httpcore  # few sites have a provider

        sent = {"accept": "application/json", "accept-encoding": "identity", "user-agent": _AGENT, **headers}
        try:
            async with (
                asyncio.timeout(DEADLINE),
                httpcore.AsyncConnectionPool(ssl_context=self._context, max_connections=1, max_keepalive_connections=0) as pool,
                pool.stream(method, url, headers=list(sent.items()), content=body) as answer,
            ):
                return _object(answer.status, await _read(answer))
        except TimeoutError:
            raise ProviderAway(f"doesn't answer within {DEADLINE:.0f} seconds") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError):
            raise ProviderAway("takes no connection") from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            raise ProviderAway("doesn't answer as a server should") from None


async def _read(answer: "httpcore.Response") -> bytes:
    pieces, size = list[bytes](), 0
    async for piece in answer.aiter_stream():
        size += len(piece)
        if size > MOST_BYTES:
            raise ProviderAway(f"answers with more than {MOST_BYTES // 1024} kB")
        pieces.append(piece)
    return b"".join(pieces)


def _object(status: int, body: bytes) -> dict[str, Any]:
    """Return the object of an answer. Raises ProviderAway, ProviderRefuses."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if 300 <= status < 400:
        raise ProviderAway(f"leads elsewhere ({status}), where nobody follows")
    if status in (400, 401, 403) and isinstance(found, dict):
        raise ProviderRefuses(str(found.get("error", status))[:60])
    if status != 200:
        raise ProviderAway(f"answers with {status}")
    if not isinstance(found, dict):
        raise ProviderAway("answers with something that isn't a JSON object")
    return found
