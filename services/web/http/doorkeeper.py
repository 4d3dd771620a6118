"""The doorkeeper: when places for connections run short, networks that hold more than their share lose their oldest ones.

The server counts connections, not whose they are. So this looks at the sockets of the process, now and then, and shuts the
surplus, which the server sees end as if the caller had hung up. What only waits is no use to anybody, so the oldest go first.
Trusted proxies keep theirs, since those are many callers'.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import structlog

from services.web.http.networks import Networks, Places

LOOK_SECONDS: Final = 0.5
_FILES: Final = Path("/proc/self/fd")


class _Connection(NamedTuple):
    """A connection that the server took, by its file number and its caller's address and port."""

    number: int
    peer: tuple[str, int]


class Doorkeeper:
    """Watches the connections of one listening port."""

    def __init__(self, port: int, networks: Networks, most: int, share: int) -> None:
        self._port = port
        self._networks = networks
        self._most = most
        self._share = share
        self._since: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Look and shut until cancelled, where the system tells a process its files (Linux)."""
        while numbers := _open_files():
            if len(numbers) > self._most and (shut := self.shut_surplus()):
                structlog.get_logger().warning("connections of networks that took more than their share were shut", number=shut)
            await asyncio.sleep(LOOK_SECONDS)

    def shut_surplus(self) -> int:
        """Shut what networks hold beyond their shares, the oldest first, and return how many."""
        now = monotonic()
        found = list(_connections(self._port))
        self._since = {peer: self._since.get(peer, now) for _, peer in found}
        places = Places(len(found), self._share)
        newest = sorted(found, key=lambda one: self._since[one.peer], reverse=True)
        surplus = [
            one
            for one in newest
            if not self._networks.is_proxy(one.peer[0]) and not places.take(self._networks.of(one.peer[0]))
        ]
        return sum(map(_shut, surplus))


def _open_files() -> list[int]:
    """Return the numbers of the process's open files; none where the system doesn't tell."""
    return [int(name) for name in os.listdir(_FILES)] if _FILES.is_dir() else []  # noqa: PTH208 - names are all that is asked


def _connections(port: int) -> Iterator[_Connection]:
    for number in _open_files():
        if (peer := _peer(number, port)) is not None:
            yield _Connection(number, peer)


@contextmanager
def _socket(number: int) -> Iterator[socket.socket]:
    """Give the socket of a file number for a moment; the file stays the server's. Raises OSError for any other file."""
    found = socket.socket(fileno=number)
    try:
        yield found
    finally:
        found.detach()


def _peer(number: int, port: int) -> tuple[str, int] | None:
    """Return the caller of a connection to the port; None for any other file."""
    try:
        with _socket(number) as found:
            if found.family not in (socket.AF_INET, socket.AF_INET6) or found.getsockname()[1] != port:
                return None
            address, from_port, *_ = found.getpeername()
            return address, from_port
    except OSError:
        return None


def _shut(one: _Connection) -> bool:
    """Shut a connection, unless its number stands for another one by now."""
    try:
        with _socket(one.number) as found:
            if found.getpeername()[:2] != one.peer:
                return False
            found.shutdown(socket.SHUT_RDWR)
            return True
    except OSError:
        return False
