"""What is kept of a visitor's votes, and of corrections that took them out or gave them back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from events.ballots import Choice, VoteCast, VoteRetracted, evolve
from events.voters import VoterDisqualified, VoterReinstated
from projections.registry import named
from services.person.kept import Kept
from services.person.own import UNKNOWN, Database, Told, ToolName

READ_REASONS: Final = named("select correction, reason from {corrections}.corrections where correction = any($1::text[])")
COUNT_MARKS: Final = "select count(*) from integrity.network_marks where position = any($1::bigint[])"

KEPT: Final = (
    Kept(
        name="Votes",
        what="Which tool, which side, when, and what the vote was before, under your visitor's number. The public log shows the"
        " same under a name made for each tool anew, and the minute instead of the second.",
        about="visitors",
        when="vote",
        ground="interest",
        until="as long as the site exists: a tally that shrank afterwards could not be checked",
        found="the visitor's number",
        fate="stays",
        remains="The votes go on counting, under a number that is tied to nothing else.",
        copies="log",
        events=("VoteCast", "VoteRetracted"),
        tables={"log.archived_ballots": "owner rest part ballots"},
    ),
    Kept(
        name="Corrections",
        what="That your votes were taken out of the tallies or given back, when, and in which public correction.",
        about="visitors",
        when="vote",
        ground="interest",
        until="as long as the site exists",
        found="the visitor's number",
        fate="stays",
        remains="That the number is disqualified, so that its votes stay out.",
        copies="log",
        events=("VoterDisqualified", "VoterReinstated"),
        tables={"{hours}.disqualified": ""},
    ),
    Kept(
        name="Network marks",
        what="A mark of 16 bits a vote, worked out of the network it came from with a secret of its day. Many networks share"
        " each mark, so it doesn't lead back to yours.",
        about="visitors",
        when="vote",
        ground="interest",
        until="14 days; the secret, one day",
        found="the positions of the visitor's votes",
        fate="expires",
        remains="The marks, until their day comes: whoever buys votes could else erase the traces.",
        copies="memory",
        needs="marks",
        tables={"integrity.network_marks": "position day bucket", "integrity.network_key": "only_row day key"},
    ),
)


class VoteStep(msgspec.Struct, frozen=True):
    """A vote that was cast, changed, or taken back (`choice` is null); `previous` is what it was before."""

    position: int
    at: datetime
    choice: Choice | None
    previous: Choice | None


class VoteCopy(msgspec.Struct, frozen=True):
    """A visitor's vote on a tool as it is, and how it came about."""

    tool: str | None
    name: str | None
    choice: Choice | None
    history: list[VoteStep]


class CorrectionCopy(msgspec.Struct, frozen=True):
    """That a visitor's votes were taken out of the tallies, or given back: so many, in a public correction."""

    position: int
    at: datetime
    action: Literal["disqualified", "reinstated"]
    votes: int
    correction: str
    reason: str | None


def votes_of(told: Sequence[Told], tools: Mapping[str, ToolName]) -> list[VoteCopy]:
    """Return a visitor's votes, the tool it voted on first first."""
    histories: dict[str, list[VoteStep]] = {}
    for one in told:
        if isinstance(one.event, VoteCast | VoteRetracted):
            step = VoteStep(one.position, one.at, evolve(None, one.event), one.event.previous)
            histories.setdefault(one.event.tool, []).append(step)
    return [VoteCopy(*tools.get(tool, UNKNOWN), steps[-1].choice, steps) for tool, steps in histories.items()]


async def corrections_of(database: Database, told: Sequence[Told]) -> list[CorrectionCopy]:
    """Return the corrections that concerned a visitor, oldest first."""
    events = [(one, one.event) for one in told if isinstance(one.event, VoterDisqualified | VoterReinstated)]
    rows = await database.fetch(READ_REASONS, [event.correction for _, event in events]) if events else []
    reasons = {row["correction"]: row["reason"] for row in rows}
    return [
        CorrectionCopy(
            one.position,
            one.at,
            "disqualified" if isinstance(event, VoterDisqualified) else "reinstated",
            len(event.ballots),
            event.correction,
            reasons.get(event.correction),
        )
        for one, event in events
    ]


async def count_marks(database: Database, told: Sequence[Told]) -> int:
    """Return how many of a visitor's votes have a network mark. The marks would tell how bought votes are found."""
    positions = [one.position for one in told if isinstance(one.event, VoteCast)]
    count: int = await database.fetchval(COUNT_MARKS, positions)
    return count
