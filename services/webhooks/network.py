"""Connect to the very addresses that were checked. It loads an HTTP client, which a process without webhooks has no use for."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final

import httpcore2 as httpcore

from services.webhooks.names import Names, Unreachable
from services.webhooks.target import may_connect

CONNECT_SECONDS: Final = 4.0
MOST_ADDRESSES: Final = 4


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that it has looked up and checked itself, and to no others."""

    def __init__(self, names: Names, *, allow_loopback: bool) -> None:
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
        """Connect to the first of a name's addresses that answers. Raises Unreachable."""
        failed: Exception | None = None
        for address in (await self._addresses(host, port))[:MOST_ADDRESSES]:
            try:
                return await self._network.connect_tcp(address, port, CONNECT_SECONDS)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise Unreachable("it takes no connection") from failed

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a name, each in one spelling; all must be public. Raises Unreachable."""
        try:
            found = [ip_address(address) for address in await self._names.of(host, port)]
        except (OSError, ValueError):
            found = []
        if not found:
            raise Unreachable("its name leads to no address")
        for address in found:
            if not (may_connect(address) or (self._allow_loopback and address.is_loopback)):
                raise Unreachable("its name leads to an address that isn't public")
        return [str(address) for address in found]
