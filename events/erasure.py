"""Erasure of a person: what it wrote goes, what it counted for stays.

A visitor's reviews are withdrawn (their keys destroyed in the same transaction) and its bookmarks removed. Its ballots hold
nothing but a choice under an id that names nobody, so they stay and no tally changes.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from events import bookmarks
from events.bookmarks import BookmarkRemoved, ToolBookmarked
from events.commands.reviews import lasts_of_visitor, withdrawal
from events.log import ids, store
from events.log.command import Command, Decision, IdempotencyKey, Receipt, View
from events.log.event import Event, Recorded, Registry
from events.reviews import EVENTS as REVIEW_EVENTS
from events.reviews import Review, ReviewCleared, ReviewPlaced, fold, stream, withdraw_review


class PersonErased(Event, frozen=True, kw_only=True):
    """What a person wrote was destroyed; what it said in numbers stays. A visitor is a person."""

    person: str


EVENTS = (PersonErased,)

# Whether a visitor has any event on its own streams.
IS_KNOWN = """
select exists (
    select from log.recorded_events r
    where r.stream between log.first_stream($1) and log.last_stream($1)
      and coalesce(r.data->>'voter', r.data->>'visitor') = $1
)
"""


class Erasure(msgspec.Struct, frozen=True):
    """How many reviews were withdrawn and bookmarks removed."""

    reviews: int
    bookmarks: int


def person_stream(person: str) -> UUID:
    """Name the stream of what was done about a person."""
    return ids.stream_named("person", person)


def erase_visitor(visitor: str, reviews: Sequence[Review], kept: Sequence[str], *, known: bool, erased: bool) -> list[Event]:
    """Withdraw a visitor's reviews, remove its kept tools, and record it.

    No event for a visitor without any, nor for one erased before that wrote nothing since.
    """
    withdrawn = [event for review in reviews for event in withdraw_review(review, visitor)]
    removed = [BookmarkRemoved(visitor=visitor, tool=tool) for tool in kept]
    if not known or (erased and not withdrawn and not removed):
        return []
    return [*withdrawn, *removed, PersonErased(person=visitor)]


class EraseVisitor(Command[Erasure]):
    """Erase what a visitor wrote, whether disqualified or not; `operator` is None when the visitor asks."""

    __slots__ = ("_kept", "_known", "_lasts", "_reviews", "operator", "visitor")
    exclusive = True
    receipt_type = Receipt[Erasure]

    def __init__(self, visitor: str, operator: str | None = None, key: IdempotencyKey | None = None) -> None:
        super().__init__(key)
        self.visitor = visitor
        self.operator = operator

    def lasts(self, listing: object) -> Sequence[UUID]:
        """Read whether the visitor was erased before; ValueError for what is no id."""
        ids.to_bytes(self.visitor)
        return (person_stream(self.visitor),)

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Read the visitor's bookmarks and places, and the reviews in them."""
        self._known: bool = await connection.fetchval(IS_KNOWN, self.visitor)
        types = (ReviewPlaced, ReviewCleared, ToolBookmarked, BookmarkRemoved)
        self._lasts: list[Recorded[Any]] = await lasts_of_visitor(connection, self.visitor, types)
        self._kept = [last.event.tool for last in self._lasts if isinstance(last.event, ToolBookmarked)]
        placed = [stream(last.event.review) for last in self._lasts if isinstance(last.event, ReviewPlaced)]
        registry = Registry(REVIEW_EVENTS)
        self._reviews: dict[UUID, list[Recorded[Any]]] = {at: [] for at in placed}
        for row in await connection.fetch(store.READ_WHOLES, placed):
            self._reviews[row["stream"]].append(store.decode(registry, row))

    def decide(self, view: View) -> Decision[Erasure]:
        """Decide by the rule."""
        for recorded in (*self._lasts, *(r for whole in self._reviews.values() for r in whole)):
            view.take(recorded)
        erasure = view.last(person_stream(self.visitor))
        reviews = [review for whole in self._reviews.values() if (review := fold(whole)) is not None]
        events = erase_visitor(self.visitor, reviews, self._kept, known=self._known, erased=erasure is not None)
        withdrawn = withdrawal(events, None)
        placed = [
            *withdrawn.events,
            *((bookmarks.stream(e.visitor, e.tool), e) for e in events if isinstance(e, BookmarkRemoved)),
            *((person_stream(e.person), e) for e in events if isinstance(e, PersonErased)),
        ]
        return Decision(
            events=placed,
            value=Erasure(len(withdrawn.effects), len(self._kept)),
            position=None if erasure is None else erasure.position,
            effects=withdrawn.effects,
            meta=None if self.operator is None else {"operator": self.operator},
        )
