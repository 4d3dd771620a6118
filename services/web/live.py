"""Tallies as they change, told to everyone who watches: one broadcaster a process, fed by the refreshes of the cards in memory.

A flush at most once a second tells what changed since the last one, in the log's order. So an event's id, the position of the
last event in its tally, says that every tally the viewer watches and that changed before was told: who comes back with it
misses nothing. A viewer holds one unsent event a tool, however slow; who takes nothing for half a minute is cut off.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send

from projections.cards import TallyRow
from projections.tally import Community, community
from services.web.card_cache import CachedCard, Cards
from services.web.http.answers import Answer

EVENT_STREAM: Final = b"text/event-stream"
PACE_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 30.0
MOST_VIEWERS: Final = 3000
"""Below the server's places for requests, so that watching never keeps anybody from voting."""

_HELLO: Final = b"retry: 2000\n\n"
_HEARTBEAT: Final = b": still here\n\n"
_AT_ONCE: Final = 250  # viewers told before others get their turn on the event loop


class LiveTally(Community, frozen=True, tag_field=None):
    """A tally and whose it is."""

    tool: str


_encoder = msgspec.json.Encoder()


class _Watched:
    """A tool that somebody watches, and its tally as last heard of."""

    __slots__ = ("position", "ship", "skip", "slug", "viewers")

    def __init__(self, kept: CachedCard) -> None:
        self.slug = kept.slug
        self.ship, self.skip, self.position = kept.ship, kept.skip, kept.position
        self.viewers: set[Viewer] = set()

    def event(self) -> bytes:
        """Write the tally as an event."""
        fields = msgspec.structs.asdict(community(self.ship, self.skip))
        data = _encoder.encode(LiveTally(**fields, tool=self.slug))
        return b"id: %d\nevent: tally\ndata: %b\n\n" % (self.position, data)


class Viewer:
    """Somebody who watches: what it has yet to be told, by tool, oldest first."""

    __slots__ = ("_pending", "_waiter", "is_over", "sending_since", "task", "tools")

    def __init__(self, tools: Sequence[str]) -> None:
        self.tools = tools
        self.is_over = False
        self.sending_since: float | None = None
        self.task: asyncio.Task[object] | None = None
        self._pending: dict[str, bytes] = {}
        self._waiter: asyncio.Future[None] | None = None

    def tell(self, tool: str, event: bytes) -> None:
        """Have an event sent; it takes the place of one about the same tool that was not sent yet."""
        self._pending.pop(tool, None)
        self._pending[tool] = event
        self._wake()

    def end(self) -> None:
        """Have the stream end."""
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> bytes | None:
        """Wait for something to send; None at the end."""
        while not self._pending and not self.is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        if self.is_over:
            return None
        chunk = b"".join(self._pending.values())
        self._pending.clear()
        return chunk


class Live:
    """The broadcaster of one process."""

    def __init__(self, cards: Cards, clock: Callable[[], float]) -> None:
        self._cards = cards
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._changed: set[str] = set()
        self._is_stale = False
        self._moved = asyncio.Event()
        self._viewers: set[Viewer] = set()
        cards.hear = self.hear

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    def hear(self, tallies: Sequence[TallyRow] | None) -> None:
        """Take newer tallies in; None when the views were rebuilt and all must be read anew."""
        if tallies is None:
            self._is_stale = True
            self._moved.set()
            return
        for tally in tallies:
            watched = self._watched.get(tally.tool)
            if watched is not None and tally.position > watched.position:
                watched.ship, watched.skip, watched.position = tally.ship, tally.skip, tally.position
                self._changed.add(tally.tool)
                self._moved.set()

    def join(self, found: Mapping[str, CachedCard], last_id: int | None) -> Viewer:
        """Begin to watch these tools; what changed since the event `last_id` (None: everything) is told at once."""
        viewer = Viewer([kept.tool for kept in found.values()])
        for kept in found.values():
            self._watched.setdefault(kept.tool, _Watched(kept)).viewers.add(viewer)
        self.hear([TallyRow(kept.tool, kept.ship, kept.skip, kept.position) for kept in found.values()])
        watched = sorted((self._watched[tool].position, tool) for tool in viewer.tools)
        newest = watched[-1][0]
        for position, tool in watched:
            if last_id is None or position > last_id or last_id > max(newest, self._cards.position):
                viewer.tell(tool, self._watched[tool].event())
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Watch no more."""
        self._viewers.discard(viewer)
        for tool in viewer.tools:
            watched = self._watched.get(tool)
            if watched is not None:
                watched.viewers.discard(viewer)
                if not watched.viewers:
                    del self._watched[tool]
                    self._changed.discard(tool)

    def close(self) -> None:
        """End every stream; browsers come back by themselves."""
        for viewer in self._viewers:
            viewer.end()

    async def run(self) -> None:
        """Flush what changes, at most once a second, and keep quiet connections alive, until cancelled."""
        beat = asyncio.create_task(self._beat())
        try:
            while True:
                await self._moved.wait()
                self._moved.clear()
                if self._is_stale:
                    await self._read_anew()
                await self._flush()
                await asyncio.sleep(PACE_SECONDS)
        finally:
            beat.cancel()

    async def _read_anew(self) -> None:
        self._is_stale = False
        try:
            found = await self._cards.find([watched.slug for watched in self._watched.values()])
        except Exception:  # the database is away: once it is back, a refresh says so again
            self._is_stale = True
            return
        for kept in found.values():
            watched = self._watched.get(kept.tool)
            if watched is not None and (watched.ship, watched.skip) != (kept.ship, kept.skip):
                watched.ship, watched.skip = kept.ship, kept.skip
                watched.position = max(watched.position, kept.position)
                self._changed.add(kept.tool)

    async def _flush(self) -> None:
        changed = sorted((self._watched[tool].position, tool) for tool in self._changed)
        self._changed.clear()
        told = 0
        for _, tool in changed:
            watched = self._watched.get(tool)
            if watched is None:
                continue
            event = watched.event()
            for viewer in tuple(watched.viewers):
                viewer.tell(tool, event)
                told += 1
                if told % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            now = self._clock()
            for viewer in tuple(self._viewers):
                if viewer.sending_since is None:
                    viewer.tell("", _HEARTBEAT)
                elif now - viewer.sending_since > PATIENCE_SECONDS and viewer.task is not None:
                    viewer.task.cancel()

    def stream(self, viewer: Viewer) -> "Stream":
        """Give the answer that tells a viewer."""
        return Stream(self, viewer, self._clock)


class Stream(Answer):
    """An answer without end: Server-Sent Events (WHATWG HTML, 9.2)."""

    __slots__ = ("_clock", "_live", "_viewer")

    def __init__(self, live: Live, viewer: Viewer, clock: Callable[[], float]) -> None:
        headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        self._write(b"", 200, headers)
        self._live = live
        self._viewer = viewer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the caller is gone or the process stops."""
        viewer = self._viewer
        viewer.task = asyncio.current_task()
        gone = asyncio.create_task(_until_gone(receive, viewer))
        try:
            await send(self._start)
            await send(_chunk(_HELLO))
            while (events := await viewer.next()) is not None:
                viewer.sending_since = self._clock()
                await send(_chunk(events))
                viewer.sending_since = None
            await send(_chunk(b"", more=False))
        finally:
            gone.cancel()
            self._live.leave(viewer)


async def _until_gone(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.end()


def _chunk(body: bytes, *, more: bool = True) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": body, "more_body": more}
