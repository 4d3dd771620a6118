"""The commands on readers' reviews: submit, edit, withdraw, decide. Texts arrive sealed; see `events.log.vault`."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asyncpg import Connection
from msgspec.structs import replace

from events import voters
from events.catalog import Listing, Verdict
from events.erasure import must_not_be_erased, person_stream
from events.log import ids, store, vault
from events.log.command import Command, Decision, Effect, Found, Reads, Receipt, Seen
from events.log.event import Event, Recorded, Registry, fold
from events.reviews import (
    Changes,
    Ground,
    Judgement,
    Review,
    ReviewCleared,
    ReviewNotFound,
    ReviewPlaced,
    ReviewSubmitted,
    ReviewWithdrawn,
    Ties,
    begin,
    decide_review,
    edit_review,
    evolve,
    place_stream,
    stream,
    submit_review,
    withdraw_review,
)

# The last event, of these types, of each of a visitor's own streams; they are one range of the primary key.
LASTS_OF_VISITOR = """
select distinct on (r.stream) r.stream, r.version, r.position, r.type, r.schema_version, r.data
from log.between_streams(log.first_stream($1), log.last_stream($1)) r
where r.type = any($2::text[]) and r.data->>'visitor' = $1
order by r.stream, r.version desc
"""


async def lasts_of_visitor(connection: "Connection[Any]", visitor: str, types: tuple[type[Event], ...]) -> list[Recorded[Any]]:
    """Read the last event of these types in each of a visitor's own streams; later events of other types go unseen."""
    registry = Registry(types)
    return [store.decode(registry, row) for row in await connection.fetch(LASTS_OF_VISITOR, visitor, list(registry.types))]


def must_be_allowed(voter: Recorded[Any] | None, erasure: Recorded[Any] | None = None) -> None:
    """Raise VoterIsDisqualified, given the last event of a voter who is; VisitorIsErased, given an erasure.

    Who takes back gives none: that stays open to an erased visitor.
    """
    if erasure is not None:
        must_not_be_erased(erasure.event)
    if voter is not None:
        voters.must_be_allowed(voter.event)


def _decision(seen: Seen, state: Review | None, events: Sequence[Event]) -> Decision[Review]:
    """Return the decision that puts events on a review's stream; its value is the review after them."""
    for event in events:
        state = evolve(state, event)
    if state is None:
        raise ReviewNotFound
    whole = seen.wholes[0]
    at = seen.reads.wholes[0]
    return Decision(events=[(at, event) for event in events], value=state, position=whole[-1].position if whole else None)


class SubmitReview(Command[Review], frozen=True, kw_only=True):
    """Review a listed tool.

    Texts arrive sealed under a new key; `keep` is the effect that stores it.
    """

    visitor: str
    slug: str
    review: str
    verdict: Verdict
    score: int | None
    text: str
    name: str | None
    ties: Ties | None = None
    keep: Effect

    receipt_type = Receipt[Review]

    def reads(self, listing: Listing) -> Reads:
        """Name the visitor's place for this review, the voter and its erasures. Raises ToolNotListed."""
        place = place_stream(self.visitor, listing.listed(self.slug))
        return Reads((place, ids.stream_of(self.visitor), person_stream(self.visitor)))

    def decide(self, seen: Seen) -> Decision[Review]:
        """Decide by the rule. Raises VisitorIsErased, VoterIsDisqualified, ReviewExists."""
        place, voter, erasure = seen.lasts
        must_be_allowed(voter, erasure)
        submitted = ReviewSubmitted(
            review=self.review,
            visitor=self.visitor,
            tool=seen.listing.listed(self.slug),
            verdict=self.verdict,
            score=self.score,
            text=self.text,
            name=self.name,
            ties=self.ties,
        )
        events = submit_review(None if place is None else place.event, submitted)
        streams = (stream(self.review), seen.reads.lasts[0])
        return Decision(events=list(zip(streams, events, strict=True)), value=begin(submitted), effects=(self.keep,))


class EditReview(Command[Review], frozen=True):
    """Write a new revision of the visitor's own review; texts arrive sealed under the review's key."""

    visitor: str
    review: str
    changes: Changes

    receipt_type = Receipt[Review]

    def reads(self, listing: object) -> Reads:
        """Name the voter, its erasures and the review. Raises ReviewNotFound if `review` is no id."""
        return Reads((ids.stream_of(self.visitor), person_stream(self.visitor)), (stream(self.review),))

    def decide(self, seen: Seen) -> Decision[Review]:
        """Decide by the rule. Raises VisitorIsErased, VoterIsDisqualified, ReviewNotFound."""
        must_be_allowed(*seen.lasts)
        state = fold(evolve, seen.wholes[0])
        return _decision(seen, state, edit_review(state, self.visitor, self.changes))


class WithdrawReview(Command[None], frozen=True):
    """Withdraw the visitor's own review; its key is destroyed in the same transaction."""

    visitor: str
    review: str

    exclusive = True

    def reads(self, listing: object) -> Reads:
        """Name the voter and the review. Raises ReviewNotFound if `review` is no id."""
        return Reads((ids.stream_of(self.visitor),), (stream(self.review),))

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read the visitor's places: which one is the review's is known only from the review."""
        return Found(None, await lasts_of_visitor(connection, self.visitor, (ReviewPlaced, ReviewCleared)))

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide by the rule. Raises VoterIsDisqualified, ReviewNotFound."""
        must_be_allowed(seen.lasts[0])
        whole = seen.wholes[0]
        events = withdraw_review(fold(evolve, whole), self.visitor)
        return withdrawal(events, whole[-1].position)


def withdrawal(events: Sequence[Event], position: int | None) -> Decision[None]:
    """Return the decision that puts the events of withdrawn reviews on their streams and destroys the reviews' keys."""
    placed: list[tuple[UUID, Event]] = []
    effects: list[Effect] = []
    for event in events:
        match event:
            case ReviewWithdrawn():
                placed.append((stream(event.review), event))
                effects.append(vault.destroy(event.review))
            case ReviewCleared():
                placed.append((place_stream(event.visitor, event.tool), event))
    return Decision(events=placed, value=None, position=position, effects=effects)


class DecideReview(Command[Review], frozen=True):
    """Approve, reject, remove or keep a review, as an operator."""

    review: str
    judgement: Judgement
    operator: str
    revision: int | None = None
    reason: str | None = None
    ground: Ground | None = None
    through: int = 0

    receipt_type = Receipt[Review]

    def reads(self, listing: object) -> Reads:
        """Name the review. Raises ReviewNotFound if `review` is no id."""
        return Reads(wholes=(stream(self.review),))

    def decide(self, seen: Seen) -> Decision[Review]:
        """Decide by the rule. Raises ReviewNotFound, ReviewEditedSince."""
        state = fold(evolve, seen.wholes[0])
        events = decide_review(state, self.judgement, self.revision, self.reason, ground=self.ground, through=self.through)
        return replace(_decision(seen, state, events), meta={"operator": self.operator})
