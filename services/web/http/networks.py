"""Networks: which one a request comes from, seen through the trusted proxies and no others."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_PREFIX = {4: 24, 6: 64}


class Networks:
    """Names the network a caller counts as: its /24 or /64 (an IPv6 customer owns a whole /64)."""

    __slots__ = ("_name", "_trusted")

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._name = lru_cache(4096)(self._named)

    def name(self, peer: str, forwarded: Sequence[bytes]) -> str:
        """Name the network of a request by its peer and the values of all its X-Forwarded-For headers.

        The list is walked from the right, the end that our own proxies wrote, as long as each hop is trusted.
        """
        if not self._trusted or not forwarded:
            return self._name(peer, "")
        return self._name(peer, b",".join(forwarded).decode("latin-1"))

    def _named(self, peer: str, forwarded: str) -> str:
        client = _parse(peer)
        for hop in reversed(forwarded.split(",")):
            if client is None or not self._is_trusted(client):
                break
            nearer, client = client, _parse(hop)
            if client is None:  # a trusted proxy wrote something unreadable: count it as the proxy itself
                client = nearer
                break
        if client is None:
            return "local"
        prefix = _PREFIX[client.version]
        shift = client.max_prefixlen - prefix
        return f"{type(client)(int(client) >> shift << shift)}/{prefix}"

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: with a port or brackets at times, IPv4 mapped into IPv6 at others."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
