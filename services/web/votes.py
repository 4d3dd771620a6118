"""Votes: cast, changed, retracted. The answer counts the vote, in whichever process it is served.

It is the card's tally, true of some position of the log, plus what was committed after that position: by this process
(`ahead.py`), and by this voter in any.
"""

from typing import Literal

import msgspec

from events import ballots
from events.ballots import Choice
from events.commands.ballots import CastVote, Vote
from events.log import ids
from events.log.command import Receipt
from projections.tally import Community, change, changes, community
from services.web.ahead import Own
from services.web.flash import Back
from services.web.http.answers import Answer
from services.web.http.bodies import Input, Slug
from services.web.http.call import VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page, public_page, show
from services.web.http.queries import Query
from services.web.puzzles import SOLUTION, PuzzleUnsolved, require_solution, unsolved_page
from services.web.site import Call


class VoteChoice(Input, frozen=True, kw_only=True):
    """A vote."""

    choice: Literal["ship", "skip"]


class VoteForm(msgspec.Struct, frozen=True, kw_only=True):
    """A vote, or `none` to take it back, and the page to return to."""

    choice: Literal["ship", "skip", "none"]
    back: Back | None = None


class ChosenQuery(Query, frozen=True, kw_only=True):
    """The query of the page that a link of a mail leads to: the choice that it makes."""

    choice: Literal["ship", "skip"] | None = None


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


@endpoint("PUT", "/v1/tools/{tool}/vote", by=VISITOR, takes=VoteChoice, gives=VoteAnswer, problems=(428,), headers=SOLUTION)
async def put_vote(call: Call, vote: VoteChoice) -> VoteAnswer:
    """Vote ship or skip; voting again replaces the vote, and the same choice again changes nothing.

    When very many votes come in, a tool may ask each of them for about a second of work, for an hour or so. A vote without it
    is answered 428, and the problem's `puzzle` says what to work out: the number below `most`, in decimal, of which PBKDF2 with
    HMAC-SHA-256, `salt` and `cost` rounds makes 32 bytes that begin with `wanted` (hex). Send the vote again with
    `Ballotpress-Puzzle: TOKEN:KEY`: `token`, and all 32 bytes in hex. A puzzle is this visitor's, for this tool, until
    `expires_at`, and used once.
    """
    return await _vote(call, vote.choice)


@endpoint("DELETE", "/v1/tools/{tool}/vote", by=VISITOR, gives=VoteAnswer)
async def delete_vote(call: Call) -> VoteAnswer:
    """Take the vote back; 200 as well when there was none."""
    return await _vote(call, None)


@endpoint("GET", "/v1/tools/{tool}/vote", by=VISITOR, gives=OwnVote, statuses=(200, 301))
async def get_vote(call: Call) -> OwnVote:
    """Return the visitor's own choice, from the log."""
    tool = await call.site.cards.listed(call.path["tool"])
    last = await call.site.log.last(ballots.stream(call.visitor, tool.tool))
    if last is None:
        return OwnVote(tool.slug, None, None)
    return OwnVote(tool.slug, ballots.evolve(None, last.event), last.position)


@page("/tools/{tool}/vote", ChosenQuery)
async def vote_page(call: Call, query: ChosenQuery) -> Answer:
    """Show a tool with a choice made, and the button that casts it: opening the page casts nothing."""
    tool = await call.site.cards.listed(call.path["tool"])
    return show(call, "vote.html", cache=public_page(call, tool.slug), card=tool.card, choice=query.choice)


@action("/tools/{tool}/vote", VoteForm)
async def vote_form(call: Call, form: VoteForm) -> Answer:
    """Vote, or take the vote back."""
    choice = None if form.choice == "none" else form.choice
    try:
        answer = await _vote(call, choice)
    except PuzzleUnsolved as error:
        return unsolved_page(call, error)
    said = "retracted" if choice is None else "voted"
    return back(form.back or f"/tools/{answer.tool}", answer.position, said, f"vote-{answer.tool}")


async def _vote(call: Call, choice: Choice | None) -> VoteAnswer:
    """Vote as the call's visitor, or (None) take the vote back.

    Raises ToolNotListed, VoterIsDisqualified, LogUnavailable, TooManyRequests, PuzzleUnsolved.
    """
    cards = call.site.cards
    slug = await cards.present(call.path["tool"])
    call.site.refuse_vote(call.visitor, slug, call.network)
    if choice is not None:
        await require_solution(call, slug)
    receipt = await call.site.committer.submit(CastVote(call.visitor, slug, choice, key=call.key))
    if receipt.appended:
        cast = receipt.position if choice else None
        call.site.note_vote(call.visitor, slug, call.network, cast, is_first=not receipt.value.earlier)
    cached = await cards.of_any_age(slug)  # the vote is in the log: whatever keeps the card from us, it must be answered
    if cached is None:  # it may just have taken another slug
        cached = await cards.of_any_age(slug := await cards.present(slug))
    own = await _own_events(call, receipt, cards.position if cached is None else cards.as_of(cached))
    tally = cards.tally_ahead(receipt.value.tool, cached, own)
    return VoteAnswer(slug, receipt.value.choice, community(*tally), receipt.position)


async def _own_events(call: Call, receipt: Receipt[Vote], as_of: int) -> Own:
    """Return the positions of the voter's own events after one, and how they change tallies."""
    vote = receipt.value
    if vote.earlier > as_of:  # voted twice before the view had the first vote: only the log has both
        streams = [ballots.stream(call.visitor, vote.tool), ids.stream_of(call.visitor)]
        return [(recorded.position, changes(recorded.event)) for recorded in await call.site.log.since(streams, as_of)]
    if receipt.appended and receipt.position is not None and receipt.position > as_of:
        return [(receipt.position, [change(vote.tool, vote.choice, vote.previous)])]
    return []
