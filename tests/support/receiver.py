"""A server that receives webhooks, well or badly: how it behaves is the first step of the path that it is called by."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NamedTuple

ANSWERS = {
    "ok": b"HTTP/1.1 204 No Content\r\n\r\n",
    "fails": b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
    "redirects": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "gone": b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n",
    "waits": b"HTTP/1.1 503 Busy\r\nretry-after: 7200\r\ncontent-length: 0\r\n\r\n",
    "babbles": b"220 smtp.example ESMTP\r\n",
    "empty": b"",
}


class Received(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What came in, and how many connections were made; `answer` may say the status by itself."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.sent = 0
        self.port = 0
        self.tasks: set[asyncio.Task[object]] = set()
        self.answer: Callable[[Received], str] = lambda received: received.path.split("/")[1]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request, and answer it after its kind."""
        self.connections += 1
        if task := asyncio.current_task():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        try:
            await self._take(reader, writer)
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            lines = [line.split(": ", 1) for line in head[1:] if line]
            headers = {name.lower(): value for name, value in lines}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            received = Received(head[0].split()[1], headers, body)
            self.received.append(received)
            await self._answer(self.answer(received), writer)

    async def _answer(self, kind: str, writer: asyncio.StreamWriter) -> None:
        match kind:
            case "tardily":
                await asyncio.sleep(0.02)
                writer.write(ANSWERS["ok"])
            case "late":
                await asyncio.sleep(1)
                writer.write(ANSWERS["ok"])
            case "silent":
                await asyncio.sleep(3600)
            case "drips":
                for byte in b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "trickles":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)
            case "endless":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await self._flood(writer, b"x" * 65536)
            case "heads":
                writer.write(b"HTTP/1.1 200 OK\r\n")
                await self._flood(writer, b"x-more: and more\r\n" * 1000)
            case "informs":
                await self._flood(writer, b"HTTP/1.1 103 Early Hints\r\n\r\n")
            case _:
                writer.write(ANSWERS[kind])
                await writer.drain()

    async def _flood(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        while True:
            writer.write(piece)
            self.sent += len(piece)
            await writer.drain()

    def url(self, kind: str = "ok") -> str:
        """Return the address at which it behaves in a way."""
        return f"http://127.0.0.1:{self.port}/{kind}"


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver on loopback; with a context, it speaks TLS."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in receiver.tasks:
            task.cancel()
        await asyncio.gather(*receiver.tasks, return_exceptions=True)


@contextmanager
def received() -> Iterator[Receiver]:
    """A receiver on loopback, beside a test that blocks."""
    started, ended = threading.Event(), threading.Event()
    found: list[Receiver] = []

    async def run() -> None:
        async with receiving() as receiver:
            found.append(receiver)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20)
        yield found[0]
    finally:
        ended.set()
        thread.join()
