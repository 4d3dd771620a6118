"""Where a webhook may go: what its address may say, and which of the internet's addresses a connection may be made to.

An address is a stranger's word. Whatever a name leads to, no connection is made to this machine, its networks, or a service
that answers for them.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import idna
import msgspec

MOST_CHARACTERS: Final = 500
HTTPS_PORT: Final = 443
LEAST_PORT: Final = 1024
"""Below it, only https's own port: nothing there but https expects such a request."""

_VISIBLE: Final = re.compile(r"[\x21-\x7e\u00a1-\uffff]+")

# IANA's registries of special-purpose addresses, spelled out: what the standard library calls global differs by its release.
_REFUSED_V4: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' own
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and where clouds tell machines their secrets
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
            "168.63.129.16/32",  # a machine's host at Azure, under a public address
        ),
    )
)
_GIVEN_OUT_V6: Final = ip_network("2000::/3")
"""All that is given out; outside are mapped IPv4 (::ffff:0:0/96), NAT64 (64:ff9b::/96), ULA, link-local and multicast."""
_REFUSED_V6: Final = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocols, Teredo among them, which holds an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4, which holds one too
            "3fff::/20",
        ),
    )
)


class TargetRefused(Exception):
    """A webhook can't go to this address; the message says why."""


class Target(msgspec.Struct, frozen=True):
    """An address that was taken apart: `host` is in ASCII, without brackets; `path` has the query."""

    is_https: bool
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """The scheme and host of the address, which is all of it that is shown to others than its operators."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (HTTPS_PORT if self.is_https else 80)
        return f"http{'s' if self.is_https else ''}://{host}{'' if usual else f':{self.port}'}"


def read_target(url: str, *, allow_loopback: bool = False) -> Target:
    """Return what an address says. Raises TargetRefused.

    It is https; with `allow_loopback`, for tests and development, http to this machine too.
    """
    if len(url) > MOST_CHARACTERS or not _VISIBLE.fullmatch(url):
        raise TargetRefused(f"must be at most {MOST_CHARACTERS} visible characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("isn't a URL that can be read") from None
    host = _host(parts.hostname or "")
    is_https = parts.scheme == "https"
    if not is_https and not (allow_loopback and parts.scheme == "http" and names_loopback(host)):
        raise TargetRefused("must begin with https://")
    if "@" in parts.netloc:
        raise TargetRefused("must hold no name and password: check our signature instead")
    if parts.fragment or "#" in url:
        raise TargetRefused("must have no part after a #")
    port = _port(port, is_https)
    literal = _literal(host)
    is_public = not names_loopback(host) and (literal is None or may_connect(literal))
    if not is_public and not (allow_loopback and names_loopback(host)):
        raise TargetRefused("is an address that isn't public")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise TargetRefused("must be percent-encoded after the host")
    return Target(is_https, host, port, path)


def _port(port: int | None, is_https: bool) -> int:
    """Return the port that an address means. Raises TargetRefused."""
    port = port if port is not None else HTTPS_PORT if is_https else 80
    if port != HTTPS_PORT and port < LEAST_PORT:
        raise TargetRefused(f"must have the port {HTTPS_PORT}, or one from {LEAST_PORT} on")
    return port


def _host(host: str) -> str:
    """Return a host in ASCII. Raises TargetRefused."""
    if _literal(host) is not None:
        return host
    try:
        named = idna.encode(host.rstrip("."), uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise TargetRefused("must name a host, such as example.com") from None
    if "." not in named and named != "localhost":
        raise TargetRefused("must name a host in full, such as example.com")
    return named


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def names_loopback(host: str) -> bool:
    """Return whether a host is this machine by its very name."""
    literal = _literal(host)
    return host == "localhost" if literal is None else literal.is_loopback


def may_connect(address: IPv4Address | IPv6Address) -> bool:
    """Return whether a connection may be made to an address: it is public, and stands for no other one."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GIVEN_OUT_V6 and not any(address in network for network in _REFUSED_V6)
