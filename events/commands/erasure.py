"""The commands to erase a visitor, whose keys are destroyed in the transaction that records it, and to note what was asked."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from asyncpg import Connection

from events import bookmarks, reports, reviews
from events.bookmarks import BookmarkRemoved, ToolBookmarked
from events.commands.reviews import lasts_of_visitor, withdrawal
from events.erasure import DataRequested, PersonErased, erase_visitor, person_stream
from events.log import ids, store, vault
from events.log.command import Command, Decision, Effect, Found, Reads, Receipt, Seen
from events.log.event import Recorded, Registry, fold
from events.reports import ReportWithdrawn, ReviewReported
from events.reviews import Review, ReviewCleared, ReviewPlaced

# Whether a visitor has any event on its own streams.
IS_KNOWN = """
select exists (
    select from log.between_streams(log.first_stream($1), log.last_stream($1)) r
    where coalesce(r.data->>'voter', r.data->>'visitor') = $1
)
"""

FORGET_RECEIPTS = "delete from log.idempotency where scope = $1"

_REVIEWS = Registry(reviews.EVENTS)


class Erasure(msgspec.Struct, frozen=True):
    """How many reviews and reports were withdrawn and bookmarks removed."""

    reviews: int
    bookmarks: int
    reports: int = 0


class Writings(msgspec.Struct, frozen=True):
    """What a visitor wrote: reviews, reports, and the tools it bookmarked; `known` if it has any event at all."""

    known: bool
    reviews: Sequence[Review]
    bookmarked: Sequence[str]
    reports: Sequence[ReviewReported]


class EraseVisitor(Command[Erasure], frozen=True):
    """Erase what a visitor wrote, whether disqualified or not; `operator` is None when the visitor asks."""

    visitor: str
    operator: str | None = None

    exclusive = True
    receipt_type = Receipt[Erasure]

    def reads(self, listing: object) -> Reads:
        """Name the stream that tells whether the visitor was erased before. Raises ValueError if `visitor` is no id."""
        ids.to_bytes(self.visitor)
        return Reads((person_stream(self.visitor),))

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read the visitor's bookmarks, reports and places, and the reviews in the places."""
        known: bool = await connection.fetchval(IS_KNOWN, self.visitor)
        types = (ReviewPlaced, ReviewCleared, ToolBookmarked, BookmarkRemoved, ReviewReported, ReportWithdrawn)
        lasts = await lasts_of_visitor(connection, self.visitor, types)
        placed = [reviews.stream(last.event.review) for last in lasts if isinstance(last.event, ReviewPlaced)]
        wholes: dict[UUID, list[Recorded[Any]]] = {at: [] for at in placed}
        for row in await connection.fetch(store.READ_WHOLES, placed):
            wholes[row["stream"]].append(store.decode(_REVIEWS, row))
        written = [review for whole in wholes.values() if (review := fold(reviews.evolve, whole)) is not None]
        bookmarked = [last.event.tool for last in lasts if isinstance(last.event, ToolBookmarked)]
        reported = [last.event for last in lasts if isinstance(last.event, ReviewReported)]
        return Found(
            Writings(known, written, bookmarked, reported), (*lasts, *(whole[-1] for whole in wholes.values() if whole))
        )

    def decide(self, seen: Seen) -> Decision[Erasure]:
        """Decide by the rule."""
        writings: Writings = seen.found
        erased = seen.lasts[0]
        events = erase_visitor(
            self.visitor,
            writings.reviews,
            writings.bookmarked,
            writings.reports,
            known=writings.known,
            erased=erased is not None,
        )
        withdrawn = withdrawal(events, None)
        placed = [
            *withdrawn.events,
            *((bookmarks.stream(e.visitor, e.tool), e) for e in events if isinstance(e, BookmarkRemoved)),
            *((reports.stream(e.visitor, e.review), e) for e in events if isinstance(e, ReportWithdrawn)),
            *((person_stream(e.person), e) for e in events if isinstance(e, PersonErased)),
        ]
        return Decision(
            events=placed,
            value=Erasure(len(withdrawn.effects), len(writings.bookmarked), len(writings.reports)),
            position=None if erased is None else erased.position,
            effects=(
                *withdrawn.effects,
                *(vault.destroy(report.report) for report in writings.reports),
                Effect(FORGET_RECEIPTS, (self.visitor,)),
            ),
            meta=None if self.operator is None else {"operator": self.operator},
        )


class NoteRequest(Command[None], frozen=True, kw_only=True):
    """Note that an operator was asked for a copy or an erasure, by a new id."""

    request: str
    kind: Literal["copy", "erasure"]
    of: Literal["visitor", "subscriber"]
    operator: str

    def reads(self, listing: object) -> Reads:
        """Name the request's stream."""
        return Reads((ids.stream_of(self.request),))

    def decide(self, seen: Seen) -> Decision[None]:
        """Record it."""
        noted = DataRequested(request=self.request, kind=self.kind, of=self.of)
        return Decision(events=[(seen.reads.lasts[0], noted)], value=None, meta={"operator": self.operator})
