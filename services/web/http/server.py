"""The server: listens on a port, keeps the connections, ends those whose time is over, and stops in order.

It runs inside the event loop of the application, so a request changes no thread. A server with threads of its own hands each
request over, which costs as much as a third of a vote (decision 23).
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from litestar.types import ASGIApp

from services.web.http.connection import Connection

BEAT_SECONDS: Final = 0.25
STOOD_STILL_SECONDS: Final = 0.5
ROUNDS: Final = 2
"""The loop's rounds in which what came while it stood still is read, or its connection made."""


class Server:
    """Serves an ASGI application on one port."""

    _beating: asyncio.TimerHandle

    def __init__(self, app: ASGIApp, host: str, port: int, *, backlog: int, most: int) -> None:
        self.app = app
        self.address = (host, port)
        self.is_stopping = False
        self.lag = 0.0
        """How long the event loop has just stood still: so long what is read or begun now may have waited."""
        self._beaten = 0.0
        self._backlog = backlog
        self._most = most
        self._connections: set[Connection] = set()
        self._waiting: deque[Connection] = deque()
        self._stopped = asyncio.Event()

    async def serve(self, stop_seconds: float) -> None:
        """Serve until `stop`; then requests under way have so many seconds to finish. Raises OSError if the port is taken."""
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Connection(self), *self.address, backlog=self._backlog)
        self._beaten = loop.time()
        self._beat(loop)
        try:
            await self._stopped.wait()
        finally:
            listening.close()
            self.is_stopping = True
            await self._finish(stop_seconds)
            self._beating.cancel()

    def stop(self) -> None:
        """Have `serve` end."""
        self._stopped.set()

    def enter(self, connection: Connection) -> None:
        """Take a connection in, or have it wait for a place."""
        if len(self._connections) < self._most:
            self._connections.add(connection)
            connection.begin(asyncio.get_running_loop().time())
        else:
            connection.wait_for_place()
            self._waiting.append(connection)

    def leave(self, connection: Connection) -> None:
        """Let a connection go, and the first that waits take its place."""
        if connection not in self._connections:
            with suppress(ValueError):
                self._waiting.remove(connection)
            return
        self._connections.remove(connection)
        if self._waiting and not self.is_stopping:
            self.enter(self._waiting.popleft())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep, and notice whether the loop stood still: nothing else tells how long a request lay in its socket."""
        now = loop.time()
        since, self._beaten = now - self._beaten, now
        if since > STOOD_STILL_SECONDS:
            self.lag = since
            loop.call_soon(self._forget_lag, loop, ROUNDS)
        self._beating = loop.call_later(BEAT_SECONDS, self._beat, loop)
        for connection in list(self._connections):
            connection.sweep(now)

    def _forget_lag(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        if rounds:
            loop.call_soon(self._forget_lag, loop, rounds - 1)
        else:
            self.lag = 0.0

    async def _finish(self, seconds: float) -> None:
        for connection in (*self._connections, *self._waiting):
            connection.stop()
        until = asyncio.get_running_loop().time() + seconds
        while self._connections and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.cut_off()
        await asyncio.sleep(0)
