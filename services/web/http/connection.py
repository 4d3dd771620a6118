"""One connection of HTTP/1.1 (RFC 9112): what comes in is parsed, each request in turn is answered by the application.

The parser is llhttp, which Node.js uses: it refuses what two servers could read in two ways, and nothing here reads a head by
itself. What isn't a request is answered 400, a head without end 431, and the connection ends.
"""

import asyncio
import re
from collections import deque
from time import perf_counter
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

import httptools
from litestar.types import ASGIApp

from services.web.http.exchange import Exchange, refusal

HEAD_LIMIT: Final = 32 * 1024
HEAD_SECONDS: Final = 8.0
"""How long a head may take, from the connection's opening or the answer before it: so a silent connection ends as well."""
LINGER_SECONDS: Final = 2.0
"""So long what a caller still sends is read and dropped behind the last answer, which a closed connection would lose."""
STALL_SECONDS: Final = 30.0
"""Who takes nothing of an answer for so long is cut off."""
MOST_QUEUED: Final = 16
"""Requests that a caller may send ahead of their answers; what follows is read when those are written."""
_PIECE: Final = 8 * 1024
"""So many bytes are parsed at once: the requests in them are queued, whatever their number."""
_FRAMES: Final = 16 * 1024
"""Bytes that may stand around a body's chunks, beside ten times the body: no honest caller sends long extensions."""

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(?= [^ ])")
_AUTHORITY: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Keeper(Protocol):
    """What a connection needs of the server that keeps it."""

    app: ASGIApp
    address: tuple[str, int]
    is_stopping: bool
    lag: float

    def enter(self, connection: "Connection") -> None:
        """Have the connection begin, or wait for a place."""

    def leave(self, connection: "Connection") -> None:
        """Let it go."""


class Connection(asyncio.Protocol):
    """Reads requests, hands one after another to the application, and writes the answers in their order."""

    __slots__ = (
        "_body", "_client", "_exchanges", "_fed", "_headers", "_is_last", "_lag", "_method", "_parser", "_piece", "_reading",
        "_server", "_stalled", "_target", "_task", "_transport", "_unfed", "_writable", "is_full", "until",
    )  # fmt: skip

    _transport: asyncio.Transport
    _parser: Any

    def __init__(self, server: Keeper) -> None:
        self._server = server
        self._client: tuple[str, int] | None = None
        self._exchanges: deque[Exchange] = deque()
        self._reading: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._stalled = (0, 0.0)
        self._lag = 0.0
        self._unfed = b""
        self._piece = 0
        self._is_last = False
        self.is_full = False
        self.until: float | None = None
        """When the connection ends, unless something happens before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, or wait for a place."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[:2] if isinstance(peer, tuple) else None
        self._lag = self._server.lag
        self._parse_anew()
        self._server.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the caller is gone."""
        for exchange in self._exchanges:
            exchange.is_broken, exchange.is_answered = True, True
            exchange.wake()
        self.resume_writing()
        self._server.leave(self)

    def wait_for_place(self) -> None:
        """Read nothing until there is a place."""
        self.until = None
        self._transport.pause_reading()

    def begin(self, now: float) -> None:
        """Take the place that there is, and read."""
        self.until = now + HEAD_SECONDS
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse what has come; a piece at a time, if it is a lot."""
        if self._unfed or len(data) > _PIECE:
            self._unfed += data
            self._feed_pieces()
        else:
            self._feed(data)

    def _feed_pieces(self) -> None:
        while self._unfed and not self._is_last and len(self._exchanges) < MOST_QUEUED:
            piece, self._unfed = self._unfed[:_PIECE], self._unfed[_PIECE:]
            self._feed(piece)
        if self._unfed:
            self._transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        if self._is_last and self._reading is None:
            return
        self._piece = len(data)
        self._fed += self._piece
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # the request is answered as any other, and nothing is read behind it
            self._be_last()
        except httptools.HttpParserInvalidMethodError:
            self._take_other_method(data)
        except httptools.HttpParserError:
            self._refuse(400)
        if self._fed > _FRAMES:
            self._check_size()

    def _check_size(self) -> None:
        """Refuse a head without end, and chunks that are mostly extensions or trailers."""
        if self._reading is None:
            if self._fed > HEAD_LIMIT + _PIECE:  # a smaller one is measured by whoever is asked
                self._refuse(431)
        elif self._reading.is_chunked and self._fed - self._head_size() - 11 * self._body > _FRAMES:
            self._refuse(400)

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    def _parse_anew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)  # the connection ends behind such a request
        self._method = b""
        self.on_message_begin()

    def _take_other_method(self, data: bytes) -> None:
        """Parse a request with a method that the parser doesn't know; who is asked refuses it."""
        found = _METHOD.match(data)
        if found is None or self._method or self._exchanges:
            self._refuse(400)
            return
        self._parse_anew()
        self._method = found[0]
        self._feed(b"GET" + data[found.end() :])

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fed = self._piece
        self._body = 0

    def on_url(self, url: bytes) -> None:
        """Take in a piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; trailers are left out."""
        if self._reading is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begin an exchange, at once if no other is under way."""
        if self._is_last:
            return
        scope, parser = self._scope(), self._parser
        exchange = Exchange(self, scope, keeps=parser.should_keep_alive() and scope["http_version"] == "1.1")
        for name, value in self._headers:
            if name == b"transfer-encoding":
                exchange.is_chunked, exchange.keeps = True, False
            elif name == b"expect":
                exchange.expects = value.lower() == b"100-continue"
        self._reading = exchange
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            self._start(exchange)

    def _scope(self) -> dict[str, Any]:
        target = self._target
        if not target.startswith(b"/") and (found := _AUTHORITY.match(target)):
            target = target[found.end() :] or b"/"
        path, _, query = target.partition(b"?")
        method = self._method or self._parser.get_method()
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self._parser.get_http_version(),
            "scheme": "http",
            "server": self._server.address,
            "client": self._client,
            "root_path": "",
            "method": method.decode("ascii"),
            "path": unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "headers": self._headers,
            "arrived": perf_counter() - (self._lag or self._server.lag),
        }

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body; a caller that sends faster than anybody reads has to wait."""
        if self._reading is not None:
            self._body += len(body)
            if not self._reading.take(body):
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """End a request; behind one that the connection doesn't outlast nothing is read."""
        exchange, self._reading = self._reading, None
        self._method, self._lag = b"", 0.0
        if exchange is None:
            return
        exchange.end()
        self._is_last = not exchange.keeps
        if exchange.is_answered:
            self._go_on()

    def _start(self, exchange: Exchange) -> None:
        self.until = None
        self._task = asyncio.get_running_loop().create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        if self._server.lag:
            exchange.scope["arrived"] -= self._server.lag
        try:
            await self._server.app(exchange.scope, exchange.receive, exchange.send)  # type: ignore[arg-type]
        except Exception:  # the application has logged it; half an answer ends where it broke off
            self._transport.abort()
        if not exchange.is_answered:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Write a part of an answer."""
        self._transport.write(data)

    def read_on(self) -> None:
        """Read what was left for later."""
        self._feed_pieces()
        if not self._unfed and not self._transport.is_closing():
            self._transport.resume_reading()

    async def drained(self) -> None:
        """Wait until the caller has taken most of what was written, or is gone."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def pause_writing(self) -> None:
        """Note that much of what was written is still here."""
        self._writable, self.is_full = asyncio.get_running_loop().create_future(), True

    def resume_writing(self) -> None:
        """Note that most of it is gone."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable, self.is_full = None, False

    def answered(self, exchange: Exchange) -> None:
        """Go on to the next request once the body of this one is over, or end the connection."""
        if exchange.keeps and not self._server.is_stopping:
            self.until = asyncio.get_running_loop().time() + HEAD_SECONDS
            if exchange.is_whole:
                self._go_on()
            else:
                self.read_on()
        else:
            self._end(is_whole=exchange.is_whole)

    def _go_on(self) -> None:
        self._exchanges.popleft()
        if self._exchanges:
            self._start(self._exchanges[0])
        if self._unfed or not self._transport.is_reading():
            self.read_on()

    def _be_last(self) -> None:
        """Read no further request."""
        self._is_last = True
        if self._exchanges:
            self._exchanges[-1].keeps = False

    def _refuse(self, status: int) -> None:
        """Answer what is no request, unless answers are owed; a body that breaks is told to who reads it."""
        broken, self._reading, self._unfed = self._reading, None, b""
        if broken is not None:
            broken.is_broken = True
            broken.wake()
        elif not self._exchanges and not self._is_last:
            self.write(refusal(status))
            self._end(is_whole=False)
        self._be_last()

    def _end(self, *, is_whole: bool) -> None:
        """End the connection after what was written; what still comes is dropped for a moment, or the answer would be lost."""
        self._is_last, self._unfed = True, b""
        if is_whole or self._transport.is_closing():
            self._transport.close()
            return
        self.until = asyncio.get_running_loop().time() + LINGER_SECONDS
        self._transport.write_eof()
        self._transport.resume_reading()

    def stop(self) -> None:
        """End an idle connection; any other ends with the answer that it owes."""
        if not self._exchanges:
            self._transport.close()

    def cut_off(self) -> None:
        """End the connection now, and the answer that is being made."""
        self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    def sweep(self, now: float) -> None:
        """End the connection if its time is over, or if the caller takes nothing of what was written."""
        size = self._transport.get_write_buffer_size()
        if size and size == self._stalled[0]:
            if now - self._stalled[1] > STALL_SECONDS:
                self._transport.abort()
            return
        self._stalled = (size, now)
        if not size and self.until is not None and now > self.until:
            self._transport.abort()
