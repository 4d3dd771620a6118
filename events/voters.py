"""Who may vote: disqualification and reinstatement, with the ballots they take away and give back.

The ballots stand in the events, so every change of a tally is in the log; nothing can be cast while disqualified, so what is
given back is what was taken.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.catalog import Verdict
from events.log import ids
from events.log.command import Command, Decision, IdempotencyKey, Receipt, View
from events.log.event import Event

Ballots = list[tuple[str, Verdict]]
Tally = tuple[int, int]
# Gives the (ship, skip) of tools at the head of the log; called with the connection that holds the head's lock.
TalliesAtHead = Callable[["Connection[Any]", Sequence[str]], Awaitable[Mapping[str, Tally]]]


class VoterDisqualified(Event, frozen=True, kw_only=True):
    """A voter's ballots, `[[tool, choice], …]`, count no more."""

    voter: str
    ballots: Ballots
    correction: str


class VoterReinstated(Event, frozen=True, kw_only=True):
    """A disqualified voter's ballots count again."""

    voter: str
    ballots: Ballots
    correction: str


class ToolCorrected(msgspec.Struct, frozen=True):
    """A tool's (ship, skip) before and after a correction."""

    tool: str
    before: Tally
    after: Tally


class CorrectionRecorded(Event, frozen=True, kw_only=True):
    """A cohort was disqualified or reinstated: how many voters and votes, why, and what it changed. Never who."""

    correction: str
    action: Literal["disqualified", "reinstated"]
    reason: str
    voters: int
    votes: int
    tools: list[ToolCorrected]


EVENTS = (VoterDisqualified, VoterReinstated, CorrectionRecorded)


class VoterIsDisqualified(Exception):
    """This voter was disqualified; nothing can be cast until an operator reinstates it."""


class VoterUnknown(Exception):
    """This visitor has no events."""


def must_be_allowed(last: Event) -> None:
    """Refuse (VoterIsDisqualified) when the voter's last event is a disqualification."""
    if isinstance(last, VoterDisqualified):
        raise VoterIsDisqualified(last.voter)


def correct(before: Tally, ballots: Sequence[Verdict], sign: int) -> Tally:
    """Add (sign 1) or take away (sign -1) ballots from a tally."""
    ships = sum(choice == "ship" for choice in ballots)
    return before[0] + sign * ships, before[1] + sign * (len(ballots) - ships)


def record_correction(
    correction: str, reason: str, changed: Mapping[str, Ballots], before: Mapping[str, Tally], *, reinstate: bool
) -> list[Event]:
    """Disqualify or reinstate these voters, each with its ballots, as one correction; none changed is no event."""
    if not changed:
        return []
    kind = VoterReinstated if reinstate else VoterDisqualified
    by_tool: dict[str, list[Verdict]] = {}
    for tool, choice in (ballot for ballots in changed.values() for ballot in ballots):
        by_tool.setdefault(tool, []).append(choice)
    sign = 1 if reinstate else -1
    tools = [
        ToolCorrected(tool, before.get(tool, (0, 0)), correct(before.get(tool, (0, 0)), choices, sign))
        for tool, choices in sorted(by_tool.items())
    ]
    summary = CorrectionRecorded(
        correction=correction,
        action="reinstated" if reinstate else "disqualified",
        reason=reason,
        voters=len(changed),
        votes=sum(len(ballots) for ballots in changed.values()),
        tools=tools,
    )
    return [*(kind(voter=v, ballots=b, correction=correction) for v, b in sorted(changed.items())), summary]


# The last event of each ballot of these voters, and which of the voters have any event at all.
BALLOTS_OF = """
select v.id as voter,
       e.type is not null as known,
       coalesce(jsonb_agg(jsonb_build_array(e.data->>'tool', e.data->>'choice') order by e.data->>'tool')
                filter (where e.type = 'VoteCast'), '[]') as ballots
from unnest($1::text[]) as v(id)
left join lateral (
    select distinct on (r.stream) r.type, r.data
    from log.recorded_events r
    where r.stream between log.first_stream(v.id) and log.last_stream(v.id)
      and coalesce(r.data->>'voter', r.data->>'visitor') = v.id
    order by r.stream, r.version desc
) e on true
group by v.id, e.type is not null
"""

_ballots = msgspec.json.Decoder(Ballots)


class CorrectVoters(Command[CorrectionRecorded | None]):
    """Disqualify or reinstate a cohort of voters in one batch; voters already so are passed over.

    A voter without events is refused: VoterUnknown. `dry` decides and appends nothing: the value is what it would record.
    """

    __slots__ = ("_ballots", "_before", "correction", "dry", "operator", "reason", "reinstate", "tallies", "voters")
    exclusive = True
    receipt_type = Receipt[CorrectionRecorded | None]

    def __init__(
        self,
        correction: str,
        voters: Sequence[str],
        reason: str,
        tallies: TalliesAtHead,
        *,
        reinstate: bool,
        operator: str,
        dry: bool = False,
        key: IdempotencyKey | None = None,
    ) -> None:
        self.key = key
        self.correction = correction
        self.voters = sorted(set(voters))
        self.reason = reason
        self.tallies = tallies
        self.reinstate = reinstate
        self.operator = operator
        self.dry = dry

    def lasts(self, listing: object) -> Sequence[UUID]:
        """Read each voter's own stream."""
        return [ids.stream_of(voter) for voter in self.voters]

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Read the voters' ballots and the tallies of the tools concerned."""
        rows = await connection.fetch(BALLOTS_OF, self.voters)
        unknown = set(self.voters) - {row["voter"] for row in rows if row["known"]}
        if unknown:
            raise VoterUnknown(", ".join(sorted(unknown)))
        self._ballots: dict[str, Ballots] = {r["voter"]: _ballots.decode(r["ballots"]) for r in rows}
        tools = sorted({tool for ballots in self._ballots.values() for tool, _ in ballots})
        self._before = await self.tallies(connection, tools)

    def decide(self, view: View) -> Decision[CorrectionRecorded | None]:
        """Decide which voters change and record it."""
        changed: dict[str, Ballots] = {}
        position = 0
        for voter in self.voters:
            last = view.last(ids.stream_of(voter))
            position = max(position, last.position if last else 0)
            disqualified = last is not None and isinstance(last.event, VoterDisqualified)
            if disqualified == self.reinstate:
                changed[voter] = self._ballots[voter]
        events = record_correction(self.correction, self.reason, changed, self._before, reinstate=self.reinstate)
        summary = events[-1] if events else None
        streams = [*(ids.stream_of(voter) for voter in sorted(changed)), ids.stream_of(self.correction)]
        return Decision(
            events=[] if self.dry else list(zip(streams, events, strict=bool(events))),
            value=summary if isinstance(summary, CorrectionRecorded) else None,
            position=position or None,
            meta={"operator": self.operator},
        )
