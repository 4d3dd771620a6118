"""Receiving a body: counted up to its limit, and after a refusal drained."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from litestar.types import HTTPScope, Message, Receive, Send

from services.web.http.answers import Answer
from services.web.http.problems import BodyTooLarge

DRAIN_SECONDS: Final = 2.0
_DRAINED_BYTES: Final = 4 * 1024 * 1024


def counted(receive: Receive, limit: int) -> Receive:
    """Return what receives a body of so many bytes at most; it raises BodyTooLarge at more."""
    total = 0

    async def counting() -> Any:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message["body"])
            if total > limit:
                raise BodyTooLarge(f"A body may have {limit} bytes here.")
        return message

    return counting


async def answer_and_drain(answer: Answer, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Send the whole answer at once, and end it when the caller has stopped sending, or after a moment.

    A connection closed while the caller still writes would lose the refusal; one kept open would hold a place for nothing.
    """

    async def hold(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {"type": "http.response.body", "body": message["body"], "more_body": True}
        await send(message)

    await answer(scope, receive, hold)
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await _drain(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    """Read on until the body ends, is very large, or breaks off."""
    left = _DRAINED_BYTES
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body"):
            return
        left -= len(message["body"])
