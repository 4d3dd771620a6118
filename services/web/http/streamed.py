"""Answers of any length: sent a piece at a time, the next one made once the last was taken."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from litestar.types import Receive, Scope, Send

from services.web.http.answers import Answer, Headers

PATIENCE_SECONDS: Final = 30.0
"""Who takes nothing for so long is cut off."""


class Streamed(Answer):
    """An answer whose pieces are made while it is sent. If one can't be made, the connection breaks: nobody thinks it whole."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: AsyncIterator[bytes], media: bytes, headers: Headers) -> None:
        self._write(b"", 200, [(b"content-type", media), *headers])
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        await send(self._start)
        async for piece in self._pieces:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
