"""Answers: a body, a status and headers, ready to be sent.

An answer may be sent any number of times, to any number of callers, and is never changed once made.
"""

from collections.abc import Iterable

import msgspec
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

JSON = b"application/json"
encoder = msgspec.json.Encoder()


class Answer:
    """What goes back to a caller; an ASGI application, so that the framework has nothing left to do."""

    __slots__ = ("_body", "_start", "status")

    def __init__(self, body: bytes, status: int = 200, media: bytes = JSON, headers: Headers = ()) -> None:
        length = str(len(body)).encode("ascii")
        self._write(body, status, [(b"content-type", media), (b"content-length", length), *headers])

    def _write(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._start: HTTPResponseStartEvent = {"type": "http.response.start", "status": status, "headers": headers}
        self._body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": body, "more_body": False}

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return self._body["body"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send(self._start)
        await send(self._body)


class Bodiless(Answer):
    """An answer that has no body by its status (204, 304): RFC 9110 wants no length or type there."""

    __slots__ = ()

    def __init__(self, status: int, headers: Headers = ()) -> None:
        self._write(b"", status, list(headers))


def json_answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Encode a Struct (or anything msgspec knows) as the answer's JSON."""
    return Answer(encoder.encode(value), status, JSON, headers)
