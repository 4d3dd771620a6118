"""A voter's choice on a tool: ship, skip, or none."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from events import voters
from events.catalog import Listing, Verdict
from events.log import ids
from events.log.command import Command, Decision, IdempotencyKey, Receipt, View
from events.log.event import Event

Choice = Verdict


class VoteCast(Event, frozen=True, kw_only=True):
    """A voter chose, or chose anew; `previous` is the choice it replaces."""

    voter: str
    tool: str
    choice: Choice
    previous: Choice | None = None


class VoteRetracted(Event, frozen=True, kw_only=True):
    """A voter took a choice back."""

    voter: str
    tool: str
    previous: Choice


EVENTS = (VoteCast, VoteRetracted)


def evolve(state: Choice | None, event: Event) -> Choice | None:
    """Give the choice after an event of the ballot; the event alone says it."""
    match event:
        case VoteCast():
            return event.choice
        case VoteRetracted():
            return None
    return state


def cast_vote(state: Choice | None, voter: str, tool: str, choice: Choice) -> list[Event]:
    """Choose; the same choice again is no event."""
    if state == choice:
        return []
    return [VoteCast(voter=voter, tool=tool, choice=choice, previous=state)]


def retract_vote(state: Choice | None, voter: str, tool: str) -> list[Event]:
    """Take the choice back; without one there is no event."""
    return [] if state is None else [VoteRetracted(voter=voter, tool=tool, previous=state)]


def stream(voter: str, tool: str) -> UUID:
    """Name the stream of a voter's ballot on a tool."""
    return ids.stream_beside(voter, "ballot", tool)


class Vote(msgspec.Struct, frozen=True):
    """What came of a vote: the choice now and before, and where this voter's last earlier event stands (0: none)."""

    tool: str
    choice: Choice | None
    previous: Choice | None
    earlier: int


class CastVote(Command[Vote]):
    """Cast, change or (with no choice) retract a visitor's vote on a listed tool."""

    __slots__ = ("_ballot", "_voter", "choice", "slug", "tool", "voter")
    receipt_type = Receipt[Vote]

    def __init__(self, voter: str, slug: str, choice: Choice | None, key: IdempotencyKey | None = None) -> None:
        self.key = key
        self.voter = voter
        self.slug = slug
        self.choice: Choice | None = choice

    def lasts(self, listing: Listing) -> Sequence[UUID]:
        """Read the ballot and the voter."""
        self.tool = listing.listed(self.slug)
        self._ballot = stream(self.voter, self.tool)
        self._voter = ids.stream_of(self.voter)
        return (self._ballot, self._voter)

    def decide(self, view: View) -> Decision[Vote]:
        """Decide by the rule; ToolNotListed, VoterIsDisqualified."""
        ballot, voter = view.last(self._ballot), view.last(self._voter)
        if voter is not None:
            voters.must_be_allowed(voter.event)
        state: Choice | None = None if ballot is None else evolve(None, ballot.event)
        if self.choice is None:
            events = retract_vote(state, self.voter, self.tool)
        else:
            events = cast_vote(state, self.voter, self.tool, self.choice)
        at = 0 if ballot is None else ballot.position
        return Decision(
            events=[(self._ballot, event) for event in events],
            value=Vote(self.tool, self.choice, state, at if voter is None else max(at, voter.position)),
            position=at or None,
        )
