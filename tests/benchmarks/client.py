"""A caller over HTTP at an even pace, who notes how long each answer took and when; on connections that stay open."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple


class Answered(NamedTuple):
    """A request: when it was due, and the seconds from then to its answer."""

    due: float
    seconds: float


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, token: str = "", body: bytes = b"") -> int:
        """Send a request and read the whole answer; give its status."""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
        if token:
            head += f"Authorization: Bearer {token}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(answer[9:12])

    def close(self) -> None:
        self._writer.close()


async def paced(
    port: int, request: Callable[[int], tuple[str, str, str, bytes]], rate: float, going_on: Callable[[], bool]
) -> list[Answered]:
    """Ask `rate` times a second, on ten connections in turn, for as long as `going_on` says; every answer must be 200.

    A request that is late because the one before it was slow counts from when it was due.
    """
    clients = [Client(port) for _ in range(10)]
    for client in clients:
        await client.open()
    found: list[Answered] = []
    began = monotonic()

    async def caller(number: int) -> None:
        n = number
        while going_on():
            due = began + n / rate
            await asyncio.sleep(max(0.0, due - monotonic()))
            status = await clients[number].ask(*request(n))
            assert status == 200, status
            found.append(Answered(due, monotonic() - due))
            n += len(clients)

    await asyncio.gather(*(caller(number) for number in range(len(clients))))
    for client in clients:
        client.close()
    return found


def percentile(found: list[Answered], share: float) -> float:
    """Give the seconds that this share of the answers did not exceed."""
    seconds = sorted(answer.seconds for answer in found)
    return seconds[min(len(seconds) - 1, int(len(seconds) * share))]
