"""A voter's choice on a tool: ship, skip, or none."""

from datetime import datetime
from hashlib import sha256
from uuid import UUID

from events.catalog import Verdict
from events.log import ids
from events.log.event import Event

Choice = Verdict


class VoteCast(Event, frozen=True, kw_only=True):
    """A voter chose, or changed a choice; `previous` is the one it replaces."""

    voter: str
    tool: str
    choice: Choice
    previous: Choice | None = None


class VoteRetracted(Event, frozen=True, kw_only=True):
    """A voter retracted a choice."""

    voter: str
    tool: str
    previous: Choice


EVENTS = (VoteCast, VoteRetracted)


def evolve(state: Choice | None, event: Event) -> Choice | None:
    """Return the choice after an event of the ballot; the event alone decides it."""
    match event:
        case VoteCast():
            return event.choice
        case VoteRetracted():
            return None
    return state


def cast_vote(state: Choice | None, voter: str, tool: str, choice: Choice) -> list[Event]:
    """Cast a vote; the same choice again is no event."""
    if state == choice:
        return []
    return [VoteCast(voter=voter, tool=tool, choice=choice, previous=state)]


def retract_vote(state: Choice | None, voter: str, tool: str) -> list[Event]:
    """Retract a vote; without one there is no event."""
    return [] if state is None else [VoteRetracted(voter=voter, tool=tool, previous=state)]


def pseudonym(voter: str, tool: str) -> str:
    """Return the name of a voter on one tool, as anybody may see it: it leads neither to the voter nor to its other votes."""
    return sha256(f"ballotpress ballot v1\n{voter}\n{tool}".encode()).hexdigest()[:32]


def public_entry(event: Event, recorded_at: datetime) -> str:
    """Return the line that strangers may read of a ballot's event; `log.public_entries` makes the same in the database."""
    if not isinstance(event, VoteCast | VoteRetracted):
        raise TypeError(f"{type(event).__name__} is no event of a ballot")
    said = [f'"type":"{type(event).__name__}"', f'"minute":{int(recorded_at.timestamp()) // 60}', f'"tool":"{event.tool}"']
    said.append(f'"ballot":"{pseudonym(event.voter, event.tool)}"')
    said += [f'"{name}":"{choice}"' for name in ("choice", "previous") if (choice := getattr(event, name, None)) is not None]
    return "{" + ",".join(said) + "}"


def stream(voter: str, tool: str) -> UUID:
    """Return the stream of a voter's ballot on a tool."""
    return ids.stream_beside(voter, "ballot", tool)
