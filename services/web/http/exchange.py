"""An exchange: one request and its answer, as an ASGI application receives and sends them (HTTP/1.1, RFC 9112)."""

import asyncio
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Any, Final, Protocol

from litestar.types import HTTPReceiveMessage, HTTPRequestEvent, Message

MOST_AHEAD: Final = 64 * 1024
"""Bytes of a body that are read before the application asks for them."""

CLOSE: Final = b"connection: close\r\n"
_LINES: Final = {each.value: b"HTTP/1.1 %d %s\r\n" % (each.value, each.phrase.encode("ascii")) for each in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_WITHOUT_BODY: Final = frozenset({204, 304})
_GONE: Final[HTTPReceiveMessage] = {"type": "http.disconnect"}


class Wire(Protocol):
    """What an exchange needs of its connection."""

    is_full: bool
    """Whether the caller takes less than comes."""

    def write(self, data: bytes) -> None:
        """Write a part of an answer."""

    def read_on(self) -> None:
        """Read what was left for later."""

    async def drained(self) -> None:
        """Wait until the caller has taken most of what was written, or is gone."""

    def answered(self, exchange: "Exchange") -> None:
        """Go on to the next request, or end."""


class Exchange:
    """A request and its answer. `keeps` tells whether the connection lasts; `is_whole`, whether all of the body has come."""

    __slots__ = (
        "_ahead", "_chunks", "_connection", "_framing", "_head", "_is_told", "_waiter", "expects", "is_answered", "is_broken",
        "is_chunked", "is_head", "is_whole", "keeps", "scope",
    )  # fmt: skip

    def __init__(self, connection: Wire, scope: dict[str, Any], *, keeps: bool) -> None:
        self._connection = connection
        self.scope = scope
        self.keeps = keeps
        self.is_head = scope["method"] == "HEAD"
        self.expects = False
        self.is_chunked = False
        self.is_whole = False
        self.is_broken = False
        self.is_answered = False
        self._chunks: list[bytes] = []
        self._ahead = 0
        self._is_told = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None
        self._framing: bytes | None = None

    def take(self, body: bytes) -> bool:
        """Take in a piece of the body; return whether more may be read now. After the answer nobody wants any."""
        if self.is_answered:
            return True
        self._chunks.append(body)
        self._ahead += len(body)
        self.wake()
        return self._ahead < MOST_AHEAD

    def end(self) -> None:
        """Note that the body is whole; if nobody has asked for any of it, it is there at once, as `scope["body"]`."""
        self.is_whole = True
        if self._waiter is None and not self.is_chunked and self._ahead < MOST_AHEAD:
            self.scope["body"] = b"".join(self._chunks)
        self.wake()

    def wake(self) -> None:
        """Let the application look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def receive(self) -> HTTPReceiveMessage:
        """Return what has come of the body; after its end, return once the caller is gone or answered."""
        while not self._has_news():
            if self.expects:
                self.expects = False
                self._connection.write(_CONTINUE)
            self._connection.read_on()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.is_broken or self._is_told:
            return _GONE
        body, self._chunks, self._ahead = b"".join(self._chunks), [], 0
        self._is_told = self.is_whole
        return HTTPRequestEvent(type="http.request", body=body, more_body=not self.is_whole)

    def _has_news(self) -> bool:
        return bool(self._chunks) or self.is_broken or self.is_answered or (self.is_whole and not self._is_told)

    async def send(self, message: Message) -> None:
        """Write a part of the answer; wait while the caller takes less than comes."""
        if message["type"] == "http.response.start":
            self._begin(message["status"], message["headers"])  # type: ignore[arg-type] # every answer of ours has a list
            return
        if message["type"] != "http.response.body" or self.is_answered:
            return
        body, more = message["body"], message.get("more_body", False)
        head, self._head = self._head, None
        if head is not None:
            head = self._framed(head, len(body), more=more)
        self._connection.write(self._written(head or b"", body, more=more))
        if not more:
            self.is_answered = True
            self.wake()
            self._connection.answered(self)
        elif self._connection.is_full:
            await self._connection.drained()

    def _begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        head = b"".join([_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, *[b"%b: %b\r\n" % one for one in headers]])
        if head.count(b"\n") != len(headers) + 1:
            raise ValueError("a header has more than one line")
        if b"\r\nconnection: close\r\n" in head:
            self.keeps = False
        elif not self.keeps:
            head += CLOSE
        self._head = head + date_line()
        self._framing = b"" if status in _WITHOUT_BODY or b"\r\ncontent-length: " in head else None

    def _framed(self, head: bytes, length: int, *, more: bool) -> bytes:
        """Return a head that says where its body ends: known lengths are told, others come in chunks or end the connection."""
        if self._framing is not None or self.is_head:
            self._framing = b""
        elif not more:
            head += b"content-length: %d\r\n" % length
            self._framing = b""
        elif self.scope["http_version"] == "1.1":
            head += _CHUNKED
            self._framing = _LAST_CHUNK
        else:
            self._framing = b""
        return head + b"\r\n"

    def _written(self, head: bytes, body: bytes, *, more: bool) -> bytes:
        if not self._framing:
            return head + body
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + chunk + (b"" if more else self._framing)


class _Date:
    """The header that says when an answer was made, worked out once a second."""

    second = 0
    line = b""


def date_line() -> bytes:
    """Return the Date header of now."""
    second = int(time())
    if second != _Date.second:
        _Date.second, _Date.line = second, b"date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
    return _Date.line


def refusal(status: int) -> bytes:
    """Return the answer to what can't be read as a request."""
    return b"%bcontent-length: 0\r\n%b%b\r\n" % (_LINES[status], CLOSE, date_line())
