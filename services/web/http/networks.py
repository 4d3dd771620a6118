"""Networks: which one a request comes from, seen through the trusted proxies and no others, and its share of everything.

An address counts as several blocks, one inside the other: an IPv6 customer owns at least a /64, often a /56 or /48. Each block
has a share that grows with it, but far more slowly than the number of addresses in it: a whole /48 gets four times what a /64
gets, so nobody multiplies a limit by the 65,536 networks it owns. A /32 is a provider: all its customers get 64 times that.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from services.web.http.counters import Counter, Limit

MOST_REMEMBERED: Final = 256
"""Characters of the longest list of hops whose network is remembered: a head may have 32 kB of them."""

# By the version of the protocol: the length of a block's prefix, and how many times the narrowest block's share it has.
_BLOCKS: Final = {4: ((24, 1), (16, 8)), 6: ((64, 1), (56, 2), (48, 4), (32, 64))}
_NAT64: Final = IPv6Network("64:ff9b::/96")
FACTORS: Final = sorted({factor for blocks in _BLOCKS.values() for _, factor in blocks})


class Block(NamedTuple):
    """A block of addresses, and how many times a narrowest block's share it has."""

    name: str
    factor: int


Network = tuple[Block, ...]
"""The blocks that an address lies in, the narrowest first."""

LOCAL: Final[Network] = (Block("local", 1),)
"""What a caller without an address counts as: one on a Unix socket."""


class Networks:
    """Names the network a caller counts as."""

    __slots__ = ("_of", "_trusted")

    def __init__(self, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._of = lru_cache(4096)(self._seen)

    def of(self, peer: str, forwarded: Sequence[bytes] = ()) -> Network:
        """Return the network of a request by its peer and the values of all its X-Forwarded-For headers.

        The list is walked from the right, the end that our own proxies wrote, as long as each hop is trusted.
        """
        if not self._trusted or not forwarded:
            return self._of(peer, "")
        hops = b",".join(forwarded).decode("latin-1")
        return self._of(peer, hops) if len(hops) <= MOST_REMEMBERED else self._seen(peer, hops)

    def is_proxy(self, peer: str) -> bool:
        """Tell whether a peer is one of our own proxies."""
        address = _parse(peer)
        return address is not None and self._is_trusted(address)

    def _seen(self, peer: str, forwarded: str) -> Network:
        client = _parse(peer)
        for hop in reversed(forwarded.split(",")):
            if client is None or not self._is_trusted(client):
                break
            nearer, client = client, _parse(hop)
            if client is None:  # a trusted proxy wrote something unreadable: count it as the proxy itself
                client = nearer
                break
        if client is None:
            return LOCAL
        return tuple(Block(_named(client, prefix), factor) for prefix, factor in _BLOCKS[client.version])

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _named(address: IPv4Address | IPv6Address, prefix: int) -> str:
    shift = address.max_prefixlen - prefix
    return f"{type(address)(int(address) >> shift << shift)}/{prefix}"


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it: with a port or brackets at times, IPv4 written as IPv6 at others."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else _inner(address) or address


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: who owns the one has the others too, and would have two shares.

    They are IPv4 mapped (RFC 4291), 6to4 (RFC 3056), Teredo's client (RFC 4380), and NAT64's well-known prefix (RFC 6052).
    """
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


class Share:
    """A network's share of something counted over time: at most `most` in `seconds` for its narrowest block."""

    __slots__ = ("_limits", "_of_all")

    def __init__(self, item: str, most: int, seconds: int, what: str) -> None:
        self._limits = {
            factor: Limit(item if factor == 1 else f"{item}-x{factor}", most * factor, seconds, f"{what} from one network")
            for factor in FACTORS
        }
        self._of_all = lru_cache(1024)(self._made)

    def counters(self, network: Network, of: str = "") -> Sequence[Counter]:
        """Return what to count for a network, of one thing if it is named."""
        return self._made(network, of) if of else self._of_all(network)

    def _made(self, network: Network, of: str = "") -> Sequence[Counter]:
        return tuple([(self._limits[block.factor], f"{block.name}{of}") for block in network])


class Places:
    """Places held for a while, so many in all, and at most `share` of them by one network's narrowest block."""

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._held: dict[str, int] = {}
        self.taken = 0

    def take(self, network: Network) -> bool:
        """Take a place, unless all or the network's are taken; tell whether it was given."""
        if self.taken >= self._most or any(self._held.get(name, 0) >= self._share * factor for name, factor in network):
            return False
        self.taken += 1
        for name, _ in network:
            self._held[name] = self._held.get(name, 0) + 1
        return True

    def leave(self, network: Network) -> None:
        """Give a place back."""
        self.taken -= 1
        for name, _ in network:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]
