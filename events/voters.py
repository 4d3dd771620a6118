"""Voters: disqualification and reinstatement, with the ballots that they take away and give back.

The ballots stand in the events, so every change of a tally is in the log. A disqualified voter can cast nothing, so
reinstatement gives back exactly the ballots that were taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from events.catalog import Verdict
from events.log import ids
from events.log.event import Event

Ballots = list[tuple[str, Verdict]]
Tally = tuple[int, int]


class VoterDisqualified(Event, frozen=True, kw_only=True):
    """A voter's ballots, `[[tool, choice], …]`, no longer count.

    `cohort` is the one of bought votes that the voter was disqualified with. `again` says that an operator has disqualified
    such a voter by name as well: its ballots are gone already, and undoing the cohort doesn't give them back.
    """

    voter: str
    ballots: Ballots
    correction: str
    cohort: str | None = None
    again: Literal[True] | None = None


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
    """A cohort was disqualified or reinstated: how many voters and votes, why, and the tools it changed. It names no voter."""

    correction: str
    action: Literal["disqualified", "reinstated"]
    reason: str
    voters: int
    votes: int
    tools: list[ToolCorrected]


class BallotsVoided(Event, frozen=True, kw_only=True):
    """The ballots of a correction's voters no longer count: the position of the last event of each, in ascending order.

    It names every ballot of these voters, those that were retracted too, and no voter: by it anybody can recount a correction.
    """

    correction: str
    ballots: list[int]


class BallotsRestored(Event, frozen=True, kw_only=True):
    """The ballots of a correction's voters count again: the position of the last event of each, in ascending order."""

    correction: str
    ballots: list[int]


MOST_TOOLS: Final = 500
"""Tools that one part of a correction names, for the same reason as below."""
MOST_BALLOTS: Final = 4_000
"""Ballots that one event names: with positions of 12 digits, its public entry stays below 65,535 bytes."""

EVENTS = (VoterDisqualified, VoterReinstated, CorrectionRecorded, BallotsVoided, BallotsRestored)


class VoterIsDisqualified(Exception):
    """This voter is disqualified and can cast nothing until an operator reinstates it."""


class VoterUnknown(Exception):
    """This visitor has no events."""


def stream(event: Event) -> UUID:
    """Return the stream of one of these events: its voter's, its correction's, or that of the correction's ballots."""
    match event:
        case VoterDisqualified() | VoterReinstated():
            return ids.stream_of(event.voter)
        case BallotsVoided() | BallotsRestored():
            return ballots_stream(event.correction)
        case CorrectionRecorded():
            return ids.stream_of(event.correction)
    raise TypeError(type(event).__name__)


def ballots_stream(correction: str) -> UUID:
    """Return the stream of the ballots that a correction voids or restores."""
    return ids.stream_beside(correction, "ballots")


def must_be_allowed(last: Event) -> None:
    """Raise VoterIsDisqualified if the voter's last event is a disqualification."""
    if isinstance(last, VoterDisqualified):
        raise VoterIsDisqualified(last.voter)


def correct(before: Tally, ballots: Sequence[Verdict], sign: int) -> Tally:
    """Return a tally with ballots added (sign 1) or taken away (sign -1)."""
    ships = sum(choice == "ship" for choice in ballots)
    return before[0] + sign * ships, before[1] + sign * (len(ballots) - ships)


def with_tallies(correction: CorrectionRecorded, before: Mapping[str, Tally]) -> CorrectionRecorded:
    """Return a correction that changes tools by as much, from these tallies."""
    tools = [
        ToolCorrected(tool.tool, now, (now[0] + tool.after[0] - tool.before[0], now[1] + tool.after[1] - tool.before[1]))
        for tool in correction.tools
        for now in (before.get(tool.tool, (0, 0)),)
    ]
    return replace(correction, tools=tools)


def in_parts(correction: CorrectionRecorded) -> list[CorrectionRecorded]:
    """Return a correction as it is recorded: so many tools a part; the voters are counted in the first."""
    chunks = [correction.tools[first : first + MOST_TOOLS] for first in range(0, len(correction.tools), MOST_TOOLS)]
    if len(chunks) < 2:
        return [correction]
    return [
        replace(correction, voters=0 if n else correction.voters, votes=sum(map(_votes, chunk)), tools=chunk)
        for n, chunk in enumerate(chunks)
    ]


def _votes(tool: ToolCorrected) -> int:
    return sum(abs(after - before) for before, after in zip(tool.before, tool.after, strict=True))


def is_held(last: Event | None, cohort: str | None) -> bool:
    """Tell whether an operator who disqualifies a voter by name (no `cohort`) finds it disqualified with a cohort alone."""
    return cohort is None and isinstance(last, VoterDisqualified) and last.cohort is not None


def changes(last: Event | None, cohort: str | None, *, reinstate: bool) -> bool:
    """Tell whether a correction changes a voter, given its last event. An undone cohort leaves out whom an operator named."""
    out = isinstance(last, VoterDisqualified)
    if reinstate and isinstance(last, VoterDisqualified) and cohort is not None:
        return last.cohort is not None
    return out == reinstate


def hold(correction: str, voters: Sequence[str]) -> list[Event]:
    """Disqualify by name voters who are out with a cohort. No tally changes, and undoing the cohort leaves them out."""
    return [VoterDisqualified(voter=voter, ballots=[], correction=correction, again=True) for voter in sorted(voters)]


def record_correction(
    correction: str,
    reason: str,
    changed: Mapping[str, Ballots],
    before: Mapping[str, Tally],
    *,
    reinstate: bool,
    cohort: str | None = None,
    positions: Iterable[int] = (),
) -> list[Event]:
    """Disqualify or reinstate these voters, each with its ballots, as one correction; no event if none changes.

    `positions` are those of the last events of all their ballots.
    """
    if not changed:
        return []
    summary = CorrectionRecorded(
        correction=correction,
        action="reinstated" if reinstate else "disqualified",
        reason=reason,
        voters=len(changed),
        votes=sum(len(ballots) for ballots in changed.values()),
        tools=_correct_tools(changed.values(), before, 1 if reinstate else -1),
    )
    of_voters = (_of_voter(v, b, correction, cohort, reinstate) for v, b in sorted(changed.items()))
    return [*of_voters, *name_ballots(correction, positions, reinstate=reinstate), summary]


def _correct_tools(changed: Iterable[Ballots], before: Mapping[str, Tally], sign: int) -> list[ToolCorrected]:
    """Return each tool's tally before and after these ballots are added to it, or taken from it."""
    by_tool: dict[str, list[Verdict]] = {}
    for tool, choice in chain.from_iterable(changed):
        by_tool.setdefault(tool, []).append(choice)
    return [
        ToolCorrected(tool, before.get(tool, (0, 0)), correct(before.get(tool, (0, 0)), choices, sign))
        for tool, choices in sorted(by_tool.items())
    ]


def name_ballots(correction: str, positions: Iterable[int], *, reinstate: bool = False) -> list[Event]:
    """Name the ballots that a correction voids or restores, so many an event; no event if there are none."""
    event = BallotsRestored if reinstate else BallotsVoided
    rising = sorted(positions)
    parts = (rising[first : first + MOST_BALLOTS] for first in range(0, len(rising), MOST_BALLOTS))
    return [event(correction=correction, ballots=part) for part in parts]


def _of_voter(voter: str, ballots: Ballots, correction: str, cohort: str | None, reinstate: bool) -> Event:
    if reinstate:
        return VoterReinstated(voter=voter, ballots=ballots, correction=correction)
    return VoterDisqualified(voter=voter, ballots=ballots, correction=correction, cohort=cohort)
