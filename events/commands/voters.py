"""The commands to disqualify or reinstate voters, and to name the ballots of those who were disqualified long ago."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.log import ids
from events.log.command import Command, Decision, Found, Reads, Receipt, Seen
from events.log.event import Event
from events.voters import (
    Ballots,
    CorrectionRecorded,
    Tally,
    VoterDisqualified,
    VoterUnknown,
    ballots_stream,
    changes,
    hold,
    in_parts,
    is_held,
    name_ballots,
    record_correction,
    stream,
    with_tallies,
)

TalliesAtHead = Callable[["Connection[Any]", Sequence[str]], Awaitable[Mapping[str, Tally]]]
"""Returns the (ship, skip) of tools at the head of the log; called with the connection that holds the head's lock."""

FEW: Final = 1_000
"""As many voters are corrected while all others wait."""

# The last event of each ballot of these voters, those that were retracted too, and which of the voters have any event at all.
BALLOTS_OF = """
select v.id as voter,
       e.type is not null as known,
       coalesce(jsonb_agg(jsonb_build_array(e.data->>'tool', e.data->>'choice') order by e.data->>'tool')
                filter (where e.type = 'VoteCast'), '[]') as ballots,
       coalesce(array_agg(e.position) filter (where e.type in ('VoteCast', 'VoteRetracted')), '{}') as positions
from unnest($1::text[]) as v(id)
left join lateral (
    select distinct on (r.stream) r.type, r.data, r.position
    from log.between_streams(log.first_stream(v.id), log.last_stream(v.id)) r
    where coalesce(r.data->>'voter', r.data->>'visitor') = v.id
    order by r.stream, r.version desc
) e on true
group by v.id, e.type is not null
"""

_ballots = msgspec.json.Decoder(Ballots)


class CohortBallots(msgspec.Struct, frozen=True):
    """The ballots of each voter, the positions of their last events, and the tallies of the tools they are on."""

    ballots: Mapping[str, Ballots]
    positions: Mapping[str, Sequence[int]]
    tallies: Mapping[str, Tally]


class CorrectVoters(Command[CorrectionRecorded | None], frozen=True):
    """Disqualify or reinstate a cohort of voters in one batch; voters already in that state are passed over.

    With `dry` nothing is appended: the value is the correction that would be recorded. `of` is the cohort of bought votes that
    they are of; without it they are meant by name, and one who was disqualified with such a cohort is so twice from then on.
    """

    correction: str
    voters: Sequence[str]
    reason: str
    tallies: TalliesAtHead
    reinstate: bool
    operator: str
    dry: bool = False
    of: str | None = None

    exclusive = True
    receipt_type = Receipt[CorrectionRecorded | None]
    looks_beside = True

    @property
    def is_large(self) -> bool:
        """Whether there are more than a few voters."""
        return len(self.cohort) > FEW

    @property
    def cohort(self) -> list[str]:
        """The voters in order, each once."""
        return sorted(set(self.voters))

    def reads(self, listing: object) -> Reads:
        """Name each voter's own stream."""
        return Reads([ids.stream_of(voter) for voter in self.cohort])

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read the voters' ballots and the tallies of their tools. Raises VoterUnknown for voters without events."""
        rows = await connection.fetch(BALLOTS_OF, self.cohort)
        unknown = set(self.voters) - {row["voter"] for row in rows if row["known"]}
        if unknown:
            raise VoterUnknown(", ".join(sorted(unknown)))
        ballots = {row["voter"]: _ballots.decode(row["ballots"]) for row in rows}
        tools = sorted({tool for choices in ballots.values() for tool, _ in choices})
        positions = {row["voter"]: row["positions"] for row in rows}
        return Found(CohortBallots(ballots, positions, await self.tallies(connection, tools)))

    def decide(self, seen: Seen) -> Decision[CorrectionRecorded | None]:
        """Decide which voters change, and record it; of very many, `conclude` says how the tallies change."""
        found: CohortBallots = seen.found
        lasts = {voter: None if last is None else last.event for voter, last in zip(self.cohort, seen.lasts, strict=True)}
        changed = {v: found.ballots[v] for v, last in lasts.items() if changes(last, self.of, reinstate=self.reinstate)}
        positions = [position for voter in changed for position in found.positions[voter]]
        recorded = record_correction(
            self.correction, self.reason, changed, found.tallies, reinstate=self.reinstate, cohort=self.of, positions=positions
        )
        held = [] if self.reinstate else [voter for voter, last in lasts.items() if is_held(last, self.of)]
        return Decision(
            events=[] if self.dry else self._placed(recorded, hold(self.correction, held)),
            value=recorded[-1] if recorded else None,  # type: ignore[arg-type]  # a correction's last event is its summary
            position=max((last.position for last in seen.lasts if last is not None), default=None),
            meta={"operator": self.operator},
        )

    def _placed(self, recorded: Sequence[Event], held: Sequence[Event]) -> list[tuple[UUID, Event]]:
        """Return a correction's events with their streams; the summary last, if it isn't left to `conclude`."""
        summary = [] if self.is_large or not recorded else in_parts(recorded[-1])  # type: ignore[arg-type]
        return [(stream(event), event) for event in (*held, *recorded[:-1], *summary)]

    async def conclude(
        self, connection: "Connection[Any]", value: CorrectionRecorded | None
    ) -> Decision[CorrectionRecorded | None] | None:
        """Record the correction with the tallies as they are at the head: votes of others went on meanwhile."""
        if value is None:
            return None
        summary = with_tallies(value, await self.tallies(connection, [tool.tool for tool in value.tools]))
        events = [(stream(part), part) for part in in_parts(summary)]
        return Decision(events=events, value=summary, meta={"operator": self.operator})


class NameBallots(Command[int], frozen=True, kw_only=True):
    """Name the ballots of an older correction's voters who are still out; the value is how many weren't named yet."""

    correction: str
    voters: Sequence[str]

    exclusive = True
    receipt_type = Receipt[int]
    looks_beside = True

    @property
    def is_large(self) -> bool:
        """Whether there are more than a few voters."""
        return len(self.voters) > FEW

    def reads(self, listing: object) -> Reads:
        """Name each voter's own stream, and the ballots that are named already."""
        return Reads([ids.stream_of(voter) for voter in self.voters], wholes=[ballots_stream(self.correction)])

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read where the voters' ballots are."""
        return Found({row["voter"]: row["positions"] for row in await connection.fetch(BALLOTS_OF, self.voters)})

    def decide(self, seen: Seen) -> Decision[int]:
        """Decide by the rule."""
        (named,) = seen.wholes
        out = [
            voter
            for voter, last in zip(self.voters, seen.lasts, strict=True)
            if last is not None and isinstance(last.event, VoterDisqualified)
        ]
        missing = {position for voter in out for position in seen.found[voter]}
        missing -= {position for recorded in named for position in recorded.event.ballots}
        events = name_ballots(self.correction, missing)
        return Decision(events=[(stream(event), event) for event in events], value=len(missing))
