"""The doorkeeper: of too many connections the surplus of greedy networks goes, and nobody else's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from services.web.http.doorkeeper import Doorkeeper
from services.web.http.networks import Networks

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a server in this process that keeps every connection."""
    taken = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in taken:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def opened(port: int, address: str, number: int) -> list[Connection]:
    """Connect from an address so many times."""
    return [await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0)) for _ in range(number)]


async def ended(connections: list[Connection]) -> int:
    """Count the connections that the other side has ended."""
    await asyncio.sleep(0.2)
    return sum(reader.at_eof() for reader, _ in connections)


async def test_the_oldest_of_a_greedy_network_go(port: int) -> None:
    """A network keeps its share, the newest; another network and our own proxy's callers keep all of theirs."""
    keeper = Doorkeeper(port, Networks([ip_network("127.0.9.0/24")]), 0, 4)
    old, other, proxied = (
        await opened(port, "127.0.0.1", 6),
        await opened(port, "127.0.1.1", 3),
        await opened(port, "127.0.9.1", 9),
    )
    await asyncio.sleep(0.05)
    assert keeper.shut_surplus() == 2
    new = await opened(port, "127.0.0.2", 2)
    await asyncio.sleep(0.05)
    assert keeper.shut_surplus() == 2
    assert [await ended(found) for found in (old, other, proxied, new)] == [4, 0, 0, 0]
    for _, writer in [*old, *other, *proxied, *new]:
        writer.close()


async def test_it_does_nothing_to_other_sockets(port: int) -> None:
    """Connections to other ports, and what isn't a socket, are left alone."""
    mine = await opened(port, "127.0.0.1", 3)
    assert Doorkeeper(1, Networks(()), 0, 0).shut_surplus() == 0
    assert await ended(mine) == 0
    for _, writer in mine:
        writer.close()
