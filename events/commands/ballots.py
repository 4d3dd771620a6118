"""The command to vote."""

import msgspec

from events import ballots, voters
from events.ballots import Choice
from events.catalog import Listing
from events.log import ids
from events.log.command import Command, Decision, Reads, Receipt, Seen


class Vote(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a vote: the choice now and before, and the position of this voter's last earlier event (0: none)."""

    tool: str
    choice: Choice | None
    previous: Choice | None
    earlier: int


class CastVote(Command[Vote], frozen=True):
    """Cast, change or (with no choice) retract a visitor's vote on a listed tool."""

    voter: str
    slug: str
    choice: Choice | None

    receipt_type = Receipt[Vote]

    def reads(self, listing: Listing) -> Reads:
        """Name the ballot and the voter. Raises ToolNotListed."""
        return Reads((ballots.stream(self.voter, listing.listed(self.slug)), ids.stream_of(self.voter)))

    def decide(self, seen: Seen) -> Decision[Vote]:
        """Decide by the rule. Raises VoterIsDisqualified."""
        ballot, voter = seen.lasts
        if voter is not None:
            voters.must_be_allowed(voter.event)
        tool: str = seen.listing.listed(self.slug)
        state: Choice | None = None if ballot is None else ballots.evolve(None, ballot.event)
        if self.choice is None:
            events = ballots.retract_vote(state, self.voter, tool)
        else:
            events = ballots.cast_vote(state, self.voter, tool, self.choice)
        at = 0 if ballot is None else ballot.position
        return Decision(
            events=[(seen.reads.lasts[0], event) for event in events],
            value=Vote(tool, self.choice, state, at if voter is None else max(at, voter.position)),
            position=at or None,
        )
