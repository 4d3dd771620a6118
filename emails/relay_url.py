"""Parse the address of a relay: smtp://, smtp+starttls:// or smtps://[name:password@]host[:port].

smtp takes STARTTLS when the relay offers it, and insists when it has a password to send elsewhere than to loopback; the others
always insist. Where TLS is insisted on, the certificate is verified, except on loopback, where nobody else can answer.
"""

import ipaddress
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

Security = Literal["offered", "starttls", "tls"]

_FORM = "a relay is named as smtp://, smtp+starttls:// or smtps://[name:password@]host[:port]"
_SCHEMES: dict[str, Security] = {"smtp": "offered", "smtp+starttls": "starttls", "smtps": "tls"}
_PORTS: dict[Security, int] = {"offered": 25, "starttls": 587, "tls": 465}


class RelayMalformed(ValueError):
    """The address names no relay; the message never holds the password."""


class RelayUrl(NamedTuple):
    """A relay's host and port, and how to connect to it."""

    host: str
    port: int
    security: Security
    username: str | None
    password: str | None
    verified: bool


def parse_relay_url(url: str) -> RelayUrl:
    """Parse the address of a relay. Raises RelayMalformed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RelayMalformed(_FORM) from None
    security = _SCHEMES.get(parts.scheme)
    if security is None or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise RelayMalformed(_FORM)
    login = parts.username is not None
    loopback = _is_loopback(parts.hostname)
    if login and security == "offered" and not loopback:
        security = "starttls"  # no password over a line that anybody can read
    return RelayUrl(
        host=parts.hostname,
        port=port or _PORTS[security],
        security=security,
        username=unquote(parts.username) if parts.username is not None else None,
        password=unquote(parts.password or "") if login else None,
        verified=security != "offered" and not loopback,
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
