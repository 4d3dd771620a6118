"""Cards in memory: encoded once, served many times, never unchecked for more than a second.

Each refresh brings the tallies that changed. A card whose other parts changed is dropped, and read again when it is next asked
for. The cache is bounded: the least recently used card goes first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncpg import Pool
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from events.catalog import ToolNotListed
from events.log import history, postgres
from events.log.reads import Reads
from projections import cards
from projections.cards import Card, Changes, Loaded, State, TallyRow, UnderReview
from projections.comparison import compare
from projections.tally import Tally, community
from services.integrity.under_review import Reviews
from services.replicas.readers import Readers
from services.web.ahead import Ahead, Own
from services.web.http.answers import PUBLIC, Versioned, encoder
from services.web.http.shared import tagged

if TYPE_CHECKING:
    from services.tracing.views import Refreshes

POLL_SECONDS: Final = 0.8
"""Looked at without a wake-up this often: soon enough that no reader finds a card unchecked for longer than STALE_SECONDS."""
REPLICA_POLL_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.1
PACE_SECONDS: Final = 0.03  # refreshes are this far apart at least, however often the bell rings
STALE_SECONDS: Final = 1.0
LATE_SECONDS: Final = 0.5
TRIES: Final = 3  # to read cards that aren't older than the cache's state when they come
MOST_CARDS: Final = 1000
MOST_PAIRS: Final = 500
MOST_CHANGES: Final = 5_000
"""Changes that a refresh takes in; after more, as after an import, every card is read again when it is next asked for."""


class ToolMoved(ToolNotListed):
    """A listed tool had this slug before and has another one now, or one of a pair's tools has."""

    def __init__(self, former: str, slug: str) -> None:
        super().__init__(former)
        self.former = former
        self.slug = slug


class CachedCard:
    """A cached card and its answer, encoded when first asked for; `is_followed` while the cache keeps it current."""

    __slots__ = ("_card", "_versioned", "as_of", "is_followed", "position", "ship", "skip", "tool")

    def __init__(self, loaded: Loaded, as_of: int) -> None:
        self.as_of = as_of
        self.is_followed = False
        self.tool = loaded.tool
        self.position = loaded.card.position
        self.ship = loaded.card.community.ship
        self.skip = loaded.card.community.skip
        self._card = loaded.card
        self._versioned: Versioned | None = None

    def recount(self, tally: TallyRow) -> None:
        """Take in a newer tally; the card is worked out when it is next asked for."""
        if tally.position > self.position:
            self.ship, self.skip, self.position = tally.ship, tally.skip, tally.position
            self._versioned = None

    @property
    def slug(self) -> str:
        """The tool's slug."""
        return self._card.slug

    @property
    def tally(self) -> TallyRow:
        """The tally as it stands."""
        return TallyRow(self.tool, self.ship, self.skip, self.position)

    @property
    def card(self) -> Card:
        """The card as it stands; the same object until the tally changes."""
        if self.position != self._card.position:
            self._card = replace(self._card, community=community(self.ship, self.skip), position=self.position)
        return self._card

    def versioned(self) -> Versioned:
        """Return the card's answer."""
        if self._versioned is None:
            self._versioned = Versioned(encoder.encode(self.card), cache=(*PUBLIC, *tagged(self.slug)))
        return self._versioned


class Pair(NamedTuple):
    """A cached comparison of two cards, and the positions at which it was made of them."""

    left: CachedCard
    left_position: int
    right: CachedCard
    right_position: int
    versioned: Versioned

    def holds(self) -> bool:
        """Return whether both cards are unchanged and still followed."""
        left, right = self.left, self.right
        return (
            left.position == self.left_position
            and right.position == self.right_position
            and left.is_followed
            and right.is_followed
        )


class Cards:
    """The cards of one API process."""

    def __init__(self, pool: "Pool[Any]", tracing: "Refreshes | None" = None, readers: Readers | None = None) -> None:
        self._pool = pool
        self._readers = readers
        self._reads: Reads = readers or pool
        self._tracing = tracing
        self._by_slug: OrderedDict[str, CachedCard] = OrderedDict()
        self._by_tool: dict[str, CachedCard] = {}
        self._pairs: OrderedDict[str, Pair] = OrderedDict()
        self._state = State("", 0)
        self._reviews: Reviews = {}
        self._checked = -STALE_SECONDS
        self._refreshing: asyncio.Task[None] | None = None
        self.ahead = Ahead()
        self.wake = asyncio.Event()
        self.hear: Callable[[Sequence[TallyRow] | None], None] = lambda tallies: None
        """Called with the tallies of each refresh that changed; with None when all must be read anew."""
        self.hear_reviews: Callable[[Collection[str]], None] = lambda tools: None
        """Called with the tools that came under review, or are so no more."""

    @property
    def rewinds(self) -> int:
        """How often the log was found to have gone back; what was told before may be about events that are gone."""
        return self._state.rewinds

    @property
    def position(self) -> int:
        """The position of the log that the cache has reached."""
        return self._state.position

    def as_of(self, cached: CachedCard) -> int:
        """Return the position of the log that a card is true of; followed cards advance with every refresh."""
        return max(cached.as_of, self._state.position) if cached.is_followed else cached.as_of

    def tally_ahead(self, tool: str, cached: CachedCard | None, own: Own) -> Tally:
        """Return the tally of a card, or of a tool without one yet, with what was committed since: here, or by a voter."""
        if cached is None:
            return self.ahead.since(tool, self.position, own)
        ship, skip = self.ahead.since(tool, self.as_of(cached), own)
        return cached.ship + ship, cached.skip + skip

    @property
    def _pause(self) -> float:
        """How long to wait for a wake-up, which comes from the primary: a replica has what it tells of a little later."""
        return REPLICA_POLL_SECONDS if self._readers is not None and self._readers.are_elsewhere else POLL_SECONDS

    async def run(self) -> None:
        """Refresh at each wake-up, and now and then without one, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._pause):
                    await self.wake.wait()
            except TimeoutError:
                pass
            self.wake.clear()
            try:
                await self.refresh()
            except Exception:  # the next reader refreshes and sees the error; the loop must live
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(PACE_SECONDS)

    async def refresh(self) -> None:
        """Bring the cache up to the views; callers during a refresh share it. Raises the database's errors."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
        await asyncio.shield(self._refreshing)

    async def reach(self, position: int) -> None:
        """Bring the cache up to a position that the views have reached: not by a refresh alone that began before they had."""
        await self.refresh()
        if self._state.position < position:
            await self.refresh()

    async def _refresh(self) -> None:
        began, began_at, before = monotonic(), time_ns(), self._state.position
        changes = await cards.changes(self._reads, self._state, MOST_CHANGES)
        if self._readers is not None and not (changes.holds and self._has_all(changes.state)):
            if not await self._readers.doubt():
                return  # the primary is away, and it alone can tell that the log went back: what is known stays
            changes = await cards.changes(self._reads, self._state, MOST_CHANGES)
        if not changes.holds and self._state.mark is not None:
            await history.note(self._pool, self._state.mark, "the cards")
        self._take(changes)
        self._checked = began
        if self._tracing is not None:
            self._tracing.refreshed(before, self._state.position, began_at)

    def _has_all(self, state: State) -> bool:
        """Tell whether a state can follow ours. One that can't is of a replica that has less, or of a log that went back."""
        return state.rewinds >= self._state.rewinds and state.position >= self._state.position

    def _take(self, changes: Changes) -> None:
        if not changes.whole or not changes.holds or not changes.state.continues(self._state):
            self._forget(changes.state)
            return
        self._state = changes.state
        self.ahead.reach(self._state.position)
        for tally in changes.tallies:
            if (cached := self._by_tool.get(tally.tool)) is not None:
                cached.recount(tally)
        for tool in changes.tools:
            self._drop(tool)
        self.hear(changes.tallies)

    def _drop(self, tool: str) -> None:
        """Forget a card: it is read again when it is next asked for."""
        if (cached := self._by_tool.pop(tool, None)) is not None:
            self._leave(cached)
            del self._by_slug[cached.slug]

    def _leave(self, cached: CachedCard) -> None:
        """Follow a card no more: it stays as it is now."""
        cached.as_of = self.as_of(cached)
        cached.is_followed = False

    def review(self, reviews: Reviews) -> None:
        """Take in which tools are under review now."""
        before, self._reviews = self._reviews, reviews
        changed = {tool for tool in (*before, *reviews) if before.get(tool) != reviews.get(tool)}
        for tool in changed:
            self._drop(tool)
        self.hear_reviews(changed)

    def under_review(self, tool: str) -> tuple[UnderReview, ...] | UnsetType:
        """Return the days whose votes on a tool are under review."""
        return self._reviews.get(tool, UNSET)

    def _forget(self, state: State) -> None:
        """Empty the cache: the view was rebuilt, the log went back, or nearly all of it changed."""
        for cached in self._by_slug.values():
            self._leave(cached)
        self._by_slug.clear()
        self._by_tool.clear()
        self._pairs.clear()
        if state.rewinds != self._state.rewinds:
            self.ahead.restart()
        self._state = state
        self.ahead.reach(state.position)
        self.hear(None)

    async def one(self, slug: str) -> CachedCard | None:
        """Return a listed tool's card, or None if no listed tool has this slug."""
        return self._fresh(slug) or (await self.find([slug])).get(slug)

    def _fresh(self, slug: str) -> CachedCard | None:
        """Return a card that can be answered with as it is."""
        if monotonic() - self._checked <= STALE_SECONDS and (cached := self._by_slug.get(slug)) is not None:
            self._by_slug.move_to_end(slug)
            return cached
        return None

    async def of_any_age(self, slug: str) -> CachedCard | None:
        """Return a card as `one` does; if the database keeps what is newer from us, the card as it was last known."""
        if (fresh := self._fresh(slug)) is not None:
            return fresh
        if (known := self._by_slug.get(slug)) is None:
            return await self.one(slug)
        try:
            async with asyncio.timeout(LATE_SECONDS):
                return await self.one(slug)
        except postgres.FAILED:
            return known

    async def listed(self, slug: str) -> CachedCard:
        """Return a listed tool's card. Raises ToolNotListed, ToolMoved for a former slug."""
        if (found := await self.one(slug)) is None:
            if (moved := (await self.find_any([slug])).get(slug)) is None:
                raise ToolNotListed(slug)
            raise ToolMoved(slug, moved.slug)
        return found

    async def present(self, slug: str) -> str:
        """Return the slug that a listed tool has now, for one that it has or had; any other as it is.

        So is every other while the database is away: who writes asks the log, which knows.
        """
        if slug in self._by_slug:
            return slug
        try:
            found = (await self.find_any([slug])).get(slug)
        except postgres.FAILED:
            return slug
        return slug if found is None else found.slug

    async def find_any(self, slugs: Sequence[str]) -> dict[str, CachedCard]:
        """Return the cards of those slugs that listed tools have, or had before; each under the slug given."""
        found = await self.find(slugs)
        missing = [slug for slug in slugs if slug not in found]
        if missing and (moved := await cards.moved(self._reads, missing)):
            present = await self.find([*moved.values()])
            found |= {former: present[slug] for former, slug in moved.items() if slug in present}
        return found

    async def find(self, slugs: Sequence[str]) -> dict[str, CachedCard]:
        """Return the cards of those slugs that are listed tools; what is not cached is read."""
        if monotonic() - self._checked > STALE_SECONDS:
            await self.refresh()
        missing = [slug for slug in slugs if slug not in self._by_slug]
        found = await self._load(missing) if missing else {}
        for slug in slugs:
            if (cached := self._by_slug.get(slug)) is not None:
                self._by_slug.move_to_end(slug)
                found[slug] = cached
        self._shrink()
        return found

    async def _load(self, slugs: Sequence[str]) -> dict[str, CachedCard]:
        for _ in range(TRIES):
            state, loaded = await cards.load(self._reads, slugs)
            if state.position >= self._state.position:
                break
        found = {one.card.slug: CachedCard(self._reviewed(one), state.position) for one in loaded}
        if state.continues(self._state):
            for slug, cached in found.items():
                self._drop(cached.tool)  # two readers missed it at once, or it took another slug
                cached.is_followed = True
                self._by_slug[slug] = self._by_tool[cached.tool] = cached
        return found

    def _reviewed(self, loaded: Loaded) -> Loaded:
        spans = self.under_review(loaded.tool)
        return loaded if spans is UNSET else replace(loaded, card=replace(loaded.card, under_review=spans))

    def _shrink(self) -> None:
        while len(self._by_slug) > MOST_CARDS:
            _, oldest = self._by_slug.popitem(last=False)
            self._leave(oldest)
            del self._by_tool[oldest.tool]

    def answer(self, cached: CachedCard) -> Versioned:
        """Return a card's answer."""
        if self._tracing is not None:
            self._tracing.served(self.as_of(cached))
        return cached.versioned()

    def known_comparison(self, pair: str) -> Versioned | None:
        """Return the answer of `left-vs-right` if it is cached and neither card has changed."""
        known = self._pairs.get(pair)
        if known is None or not known.holds() or monotonic() - self._checked > STALE_SECONDS:
            return None
        self._pairs.move_to_end(pair)
        return known.versioned

    def comparison(self, left: CachedCard, right: CachedCard, pair: str | None) -> Versioned:
        """Return the answer of two cards side by side, and cache it under `pair` unless that could name other tools."""
        cache = (*PUBLIC, *tagged(left.slug, right.slug))
        versioned = Versioned(encoder.encode(compare(left.card, right.card)), cache=cache)
        if pair is not None:
            self._pairs[pair] = Pair(left, left.position, right, right.position, versioned)
            if len(self._pairs) > MOST_PAIRS:
                self._pairs.popitem(last=False)
        return versioned
