"""Votes: cast, changed, retracted. The answer counts the vote, in whichever process it is served.

It is the card's tally, true of some position of the log, plus what this voter's own events after that position change.
"""

from typing import Literal

import msgspec

from events import ballots
from events.ballots import Choice
from events.commands.ballots import CastVote, Vote
from events.log import ids
from events.log.command import Receipt
from events.log.event import Event
from events.voters import VoterDisqualified, VoterReinstated
from projections.tally import Community, community
from services.web.http.bodies import Input, Slug
from services.web.http.call import VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.problems import NotFound
from services.web.site import Call


class VoteChoice(Input, frozen=True, kw_only=True):
    """A vote."""

    choice: Literal["ship", "skip"]


class VoteAnswer(msgspec.Struct, frozen=True):
    """The visitor's choice now, and the tally with it; `position` is that of the visitor's last event on this ballot."""

    tool: Slug
    choice: Choice | None
    community: Community
    position: int | None


class OwnVote(msgspec.Struct, frozen=True):
    """The visitor's own choice, null if there is none."""

    tool: Slug
    choice: Choice | None
    position: int | None


@endpoint("PUT", "/v1/tools/{tool}/vote", by=VISITOR, takes=VoteChoice, gives=VoteAnswer, problems=(403, 404, 422, 503))
async def cast(call: Call, vote: VoteChoice) -> VoteAnswer:
    """Vote ship or skip; voting again replaces the vote, and the same choice again changes nothing."""
    return await vote_on(call, call.path["tool"], vote.choice)


@endpoint("DELETE", "/v1/tools/{tool}/vote", by=VISITOR, gives=VoteAnswer, problems=(403, 404, 422, 503))
async def retract(call: Call) -> VoteAnswer:
    """Take the vote back; 200 as well when there was none."""
    return await vote_on(call, call.path["tool"], None)


@endpoint("GET", "/v1/tools/{tool}/vote", by=VISITOR, gives=OwnVote, problems=(404, 503))
async def own(call: Call) -> OwnVote:
    """Tell the visitor's own choice, from the log."""
    slug = call.path["tool"]
    kept = await call.site.cards.one(slug)
    if kept is None:
        raise NotFound("No listed tool has this slug.")
    last = await call.site.log.last(ballots.stream(call.visitor, kept.tool))
    if last is None:
        return OwnVote(slug, None, None)
    return OwnVote(slug, ballots.evolve(None, last.event), last.position)


async def vote_on(call: Call, slug: str, choice: Choice | None) -> VoteAnswer:
    """Vote as the call's visitor, or (None) take the vote back; ToolNotListed, VoterIsDisqualified, LogUnavailable."""
    receipt = await call.site.committer.submit(CastVote(call.visitor, slug, choice, call.key))
    kept = await call.site.cards.one(slug)
    ship, skip, as_of = (kept.ship, kept.skip, call.site.cards.as_of(kept)) if kept else (0, 0, 0)
    more_ship, more_skip = await _own_change(call, receipt, as_of)
    return VoteAnswer(slug, receipt.value.choice, community(ship + more_ship, skip + more_skip), receipt.position)


async def _own_change(call: Call, receipt: Receipt[Vote], as_of: int) -> tuple[int, int]:
    """Count what the voter's own events after a position change of the tool's (ship, skip)."""
    vote = receipt.value
    if vote.earlier > as_of:  # voted twice before the view took the first in: ask the log
        streams = [ballots.stream(call.visitor, vote.tool), ids.stream_of(call.visitor)]
        later = await call.site.log.since(streams, as_of)
        moves = [move for recorded in later for move in _moves(recorded.event, vote.tool)]
    elif receipt.appended and receipt.position is not None and receipt.position > as_of:
        moves = [(vote.previous, -1), (vote.choice, 1)]
    else:
        moves = []
    return sum(n for choice, n in moves if choice == "ship"), sum(n for choice, n in moves if choice == "skip")


def _moves(event: Event, tool: str) -> list[tuple[Choice | None, int]]:
    match event:
        case ballots.VoteCast():
            return [(event.previous, -1), (event.choice, 1)]
        case ballots.VoteRetracted():
            return [(event.previous, -1)]
        case VoterDisqualified() | VoterReinstated():
            sign = 1 if isinstance(event, VoterReinstated) else -1
            return [(choice, sign) for ballot, choice in event.ballots if ballot == tool]
    return []
