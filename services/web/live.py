"""Tallies as they change, sent to every viewer: one broadcaster a process, fed by the refreshes of the cached cards.

A flush, at most once a second, sends what changed since the last one in the log's order. An event's id is the position of the
last event in its tally, so every earlier change was sent before it: a viewer that reconnects with that id misses nothing.
A viewer holds one unsent event a tool, however slow it is; one that takes nothing for half a minute is cut off.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Final

import msgspec
from litestar.types import HTTPResponseBodyEvent, Receive, Scope, Send
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from projections.cards import TallyRow, UnderReview
from projections.tally import Community, community
from services.web.card_cache import CachedCard, Cards
from services.web.http.answers import Answer, encoder
from services.web.http.networks import Network, Places
from services.web.http.problems import Refusal

EVENT_STREAM: Final = b"text/event-stream"
PACE_SECONDS: Final = 1.0
HEARTBEAT_SECONDS: Final = 15.0
PATIENCE_SECONDS: Final = 30.0
MOST_VIEWERS: Final = 3000
"""Below the number of requests that the server takes at once, so that watching never keeps anybody from voting."""

_HELLO: Final = b"retry: 2000\n\n"
_HEARTBEAT: Final = b": still here\n\n"
_AT_ONCE: Final = 250  # viewers served before other tasks get their turn on the event loop


class TooManyViewers(Refusal):
    """The process has no place for another viewer, or none for one of this network."""


class LiveTally(Community, frozen=True, tag_field=None):
    """A tally with its tool's slug, and the days whose votes are under review; those are left out without any."""

    tool: str
    under_review: tuple[UnderReview, ...] | UnsetType = UNSET


class _WatchedTool:
    """A watched tool, its last known tally and its viewers."""

    __slots__ = ("slug", "tally", "viewers")

    def __init__(self, cached: CachedCard) -> None:
        self.slug = cached.slug
        self.tally = cached.tally
        self.viewers: set[Viewer] = set()

    def event(self, slug: str, rewinds: int, under_review: tuple[UnderReview, ...] | UnsetType) -> bytes:
        """Return the tally as an event; its id says after how many of the log's rewinds its position was given out."""
        fields = msgspec.structs.asdict(community(self.tally.ship, self.tally.skip))
        data = encoder.encode(LiveTally(**fields, tool=slug, under_review=under_review))
        after = b".%d" % rewinds if rewinds else b""
        return b"id: %d%b\nevent: tally\ndata: %b\n\n" % (self.tally.position, after, data)


class Viewer(Answer):
    """One open stream of Server-Sent Events (WHATWG HTML, 9.2), with its unsent events by tool, oldest first.

    `tools` are the watched ones with the slugs that were asked for: a page that is open knows no other, whatever a tool takes.
    """

    __slots__ = ("_is_over", "_live", "_pending", "_sending_since", "_task", "_waiter", "network", "tools")

    def __init__(self, live: "Live", tools: Mapping[str, tuple[str, ...]], network: Network) -> None:
        headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        self._write(b"", 200, headers)
        self.tools = tools
        self.network = network
        self._live = live
        self._is_over = False
        self._pending: dict[str, bytes] = {}
        self._sending_since: float | None = None
        self._task: asyncio.Task[object] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def queue(self, tool: str, event: bytes) -> None:
        """Queue an event; it replaces an unsent one about the same tool."""
        self._pending.pop(tool, None)
        self._pending[tool] = event
        self._wake()

    def end(self) -> None:
        """End the stream."""
        self._is_over = True
        self._wake()

    def beat(self) -> None:
        """Keep a quiet connection alive; cut off a caller that takes nothing."""
        if self._sending_since is None:
            self.queue("", _HEARTBEAT)
        elif monotonic() - self._sending_since > PATIENCE_SECONDS and self._task is not None:
            self._task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the caller is gone or the process stops."""
        self._task = asyncio.current_task()
        gone = asyncio.create_task(self._end_with(receive))
        try:
            await send(self._start)
            await send(_chunk(_HELLO))
            while (events := await self._next()) is not None:
                self._sending_since = monotonic()
                await send(_chunk(events))
                self._sending_since = None
            await send(_chunk(b"", more=False))
        finally:
            gone.cancel()
            self._live.leave(self)

    async def _end_with(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    async def _next(self) -> bytes | None:
        """Wait for something to send and return it; None at the end."""
        while not self._pending and not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        if self._is_over:
            return None
        chunk = b"".join(self._pending.values())
        self._pending.clear()
        return chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _chunk(body: bytes, *, more: bool = True) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Live:
    """The broadcaster of one process; a network may have so many viewers."""

    def __init__(self, cards: Cards, network_viewers: int) -> None:
        self._cards = cards
        self._places = Places(MOST_VIEWERS, network_viewers)
        self._watched: dict[str, _WatchedTool] = {}
        self._changed: set[str] = set()
        self._rewinds = cards.rewinds
        self._is_stale = False
        self._moved = asyncio.Event()
        self._viewers: set[Viewer] = set()
        cards.hear = self.hear
        cards.hear_reviews = self.hear_reviews

    @property
    def viewers(self) -> int:
        """The number of viewers."""
        return len(self._viewers)

    def hear(self, tallies: Sequence[TallyRow] | None) -> None:
        """Take in newer tallies; None when the views were rebuilt and every tally must be read again."""
        if tallies is None:
            self._is_stale = True
            self._moved.set()
            return
        for tally in tallies:
            watched = self._watched.get(tally.tool)
            if watched is not None and tally.position > watched.tally.position:
                watched.tally = tally
                self._changed.add(tally.tool)
                self._moved.set()

    def hear_reviews(self, tools: Collection[str]) -> None:
        """Take in which tools came under review, or are so no more: their viewers are told."""
        if changed := self._watched.keys() & set(tools):
            self._changed |= changed
            self._moved.set()

    def join(self, found: Mapping[str, CachedCard], last_id: tuple[int, int] | None, network: Network) -> Viewer:
        """Return the answer that sends these tools' tallies, at first those that changed since the event `last_id` (None: all).

        An id from before the log went back says nothing about what is there now. Raises TooManyViewers.
        """
        if not self._places.take(network):
            raise TooManyViewers("As many watch as there are places for; ask for the tallies now and then instead.")
        tools: dict[str, tuple[str, ...]] = {}
        for slug, cached in found.items():
            tools[cached.tool] = (*tools.get(cached.tool, ()), slug)
        viewer = Viewer(self, tools, network)
        for cached in found.values():
            self._watched.setdefault(cached.tool, _WatchedTool(cached)).viewers.add(viewer)
        self.hear([cached.tally for cached in found.values()])
        watched = sorted((self._watched[tool].tally.position, tool) for tool in viewer.tools)
        last = last_id[0] if last_id is not None and last_id[1] == self._cards.rewinds else None
        if last is not None and last > max(watched[-1][0], self._cards.position):
            last = None
        for position, tool in watched:
            if last is None or position > last:
                viewer.queue(tool, self._event(tool, viewer.tools[tool], self._cards.rewinds))
        self._viewers.add(viewer)
        return viewer

    def _event(self, tool: str, slugs: tuple[str, ...], rewinds: int) -> bytes:
        watched, under_review = self._watched[tool], self._cards.under_review(tool)
        return b"".join(watched.event(slug, rewinds, under_review) for slug in slugs)

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer, and give its place to another."""
        self._viewers.discard(viewer)
        self._places.leave(viewer.network)
        for tool in viewer.tools:
            watched = self._watched.get(tool)
            if watched is not None:
                watched.viewers.discard(viewer)
                if not watched.viewers:
                    del self._watched[tool]
                    self._changed.discard(tool)

    def close(self) -> None:
        """End every stream; browsers reconnect by themselves."""
        for viewer in self._viewers:
            viewer.end()

    async def run(self) -> None:
        """Send what changes, at most once a second, and keep quiet connections alive, until cancelled."""
        beat = asyncio.create_task(self._beat())
        try:
            while True:
                await self._moved.wait()
                self._moved.clear()
                if self._is_stale:
                    await self._read_again()
                await self._flush()
                await asyncio.sleep(PACE_SECONDS)
        finally:
            beat.cancel()

    async def _read_again(self) -> None:
        self._is_stale = False
        try:
            found = await self._cards.find_any([watched.slug for watched in self._watched.values()])
        except Exception:  # the database is away: the next refresh after it is back tries again
            self._is_stale = True
            return
        went_back, self._rewinds = self._rewinds != self._cards.rewinds, self._cards.rewinds
        for cached in found.values():
            watched = self._watched.get(cached.tool)
            if watched is None:
                continue
            if went_back:
                watched.tally = cached.tally
                self._changed.add(cached.tool)
            elif (watched.tally.ship, watched.tally.skip) != (cached.ship, cached.skip):
                watched.tally = replace(cached.tally, position=max(watched.tally.position, cached.position))
                self._changed.add(cached.tool)

    async def _flush(self) -> None:
        changed = sorted((self._watched[tool].tally.position, tool) for tool in self._changed)
        self._changed.clear()
        sent = 0
        for _, tool in changed:
            watched = self._watched.get(tool)
            if watched is None:
                continue
            events: dict[tuple[str, ...], bytes] = {}  # nearly always one
            for viewer in tuple(watched.viewers):
                slugs = viewer.tools[tool]
                if slugs not in events:
                    events[slugs] = self._event(tool, slugs, self._rewinds)
                viewer.queue(tool, events[slugs])
                sent += 1
                if sent % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for viewer in tuple(self._viewers):
                viewer.beat()
