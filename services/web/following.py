"""Following the log: recorded events sent to an operator as they come, as lines of JSON or as Server-Sent Events.

A follower reads the log by position, a few events at a time, and the next ones once those were taken: however slow it is, it
costs no more memory. It resumes at any position, and ends when the process leaves, or the log has gone back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from events.log.store import RecordedRow
from services.web.http.answers import Answer, encoder
from services.web.http.networks import Network, Places
from services.web.http.problems import Refusal

Form = Literal["ndjson", "sse"]
MEDIA: Final[dict[Form, str]] = {"ndjson": "application/x-ndjson", "sse": "text/event-stream"}

AT_ONCE: Final = 100
"""Events that are read at a time."""
PACE_SECONDS: Final = 0.2
POLL_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 30.0
"""A follower that takes nothing for so long is cut off."""
MOST_FOLLOWERS: Final = 64
NETWORK_FOLLOWERS: Final = 16
_BEAT: Final[dict[Form, bytes]] = {"ndjson": b"\n", "sse": b": still here\n\n"}

Read = Callable[[int, int], Awaitable[tuple[Sequence[RecordedRow], int]]]
"""Returns up to so many events above a position, and the position up to which the log was searched for them."""


class TooManyFollowers(Refusal):
    """The process has no place for another follower of the log, or none for one of this network."""


class Followers:
    """The followers of one process."""

    def __init__(self) -> None:
        self._places = Places(MOST_FOLLOWERS, NETWORK_FOLLOWERS)
        self._moved: set[asyncio.Event] = set()
        self.is_over = False

    def join(self, form: Form, after: int, read: Read, network: Network, is_gone: Callable[[], bool]) -> "Follower":
        """Return the answer that sends what is read above a position, until `is_gone`. Raises TooManyFollowers."""
        if not self._places.take(network):
            raise TooManyFollowers("As many follow the log as there are places for; read it page by page instead.")
        return Follower(self, form, after, read, network, is_gone)

    def enter(self) -> asyncio.Event:
        """Return an event that is set whenever the log may have moved."""
        moved = asyncio.Event()
        self._moved.add(moved)
        return moved

    def leave(self, network: Network, moved: asyncio.Event | None) -> None:
        """Give a follower's place to another."""
        self._places.leave(network)
        if moved is not None:
            self._moved.discard(moved)

    def wake(self) -> None:
        """Have every follower look for more."""
        for moved in self._moved:
            moved.set()

    def close(self) -> None:
        """End every stream: callers come back elsewhere, and say how far they had got."""
        self.is_over = True
        self.wake()


class Follower(Answer):
    """One open stream."""

    __slots__ = ("_after", "_followers", "_form", "_is_gone", "_left", "_network", "_read")

    def __init__(
        self, followers: Followers, form: Form, after: int, read: Read, network: Network, is_gone: Callable[[], bool]
    ) -> None:
        self._write(b"", 200, [(b"content-type", MEDIA[form].encode("ascii")), (b"x-accel-buffering", b"no")])
        self._followers = followers
        self._form = form
        self._after = after
        self._read = read
        self._network = network
        self._is_gone = is_gone
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the caller is gone, the process leaves, or the log has gone back."""
        moved = self._followers.enter()
        watching = asyncio.create_task(self._watch(receive, moved))
        try:
            await send(self._start)
            await send(_chunk(_BEAT[self._form]))
            await self._send_all(send, moved)
            await send(_chunk(b"", more=False))
        except TimeoutError:
            return  # it takes nothing any more
        finally:
            watching.cancel()
            self._followers.leave(self._network, moved)

    async def _watch(self, receive: Receive, moved: asyncio.Event) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        moved.set()

    async def _send_all(self, send: Send, moved: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not (self._left or self._followers.is_over or self._is_gone()):
            moved.clear()
            rows, searched = await self._read(self._after, AT_ONCE)
            is_behind = searched > self._after
            self._after = max(self._after, searched)
            if rows or loop.time() - last > HEARTBEAT_SECONDS:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await send(_chunk(b"".join(map(self._line, rows)) or _BEAT[self._form]))
                last = loop.time()
            if not is_behind:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await moved.wait()
                await asyncio.sleep(PACE_SECONDS)

    def _line(self, row: RecordedRow) -> bytes:
        data = encoder.encode(row)
        return data + b"\n" if self._form == "ndjson" else b"id: %d\ndata: %b\n\n" % (row.position, data)


def _chunk(body: bytes, *, more: bool = True) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": body, "more_body": more}
