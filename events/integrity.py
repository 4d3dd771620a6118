"""Cohorts of votes that look bought: what operators decide about them.

Every event says all there is to know after it, so the last one is enough. A large void waits for a second operator. Its voters
are disqualified in batches (`events.commands.integrity`), and so are those that an undo gives back.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from events.ballots import Choice
from events.log.event import Event

Judgement = Literal["void", "dismiss", "watch", "undo"]
Status = Literal["waiting", "pending", "voiding", "voided", "undoing", "dismissed", "watched"]


class _OfCohort(Event, frozen=True, kw_only=True):
    """Which votes: of a tool, a choice and a span, at positions from the first to the last; how many, and of how many voters.

    `by` names the operator: the rule of two operators reads it. `correction` is the one that disqualifies the voters, or gives
    them back.
    """

    cohort: str
    tool: str
    choice: Choice
    begins: datetime
    ends: datetime
    first_position: int
    last_position: int
    votes: int
    voters: int
    reason: str
    by: str
    correction: str | None = None


class VoidProposed(_OfCohort, frozen=True, kw_only=True):
    """An operator would void so many votes that another one must confirm."""


class VoidWithdrawn(_OfCohort, frozen=True, kw_only=True):
    """The operator who proposed the void took that back."""


class CohortDecided(_OfCohort, frozen=True, kw_only=True):
    """An operator decided; `proposed_by` names the first of two. The reason of a void or of its undoing is public."""

    decision: Judgement
    proposed_by: str | None = None


class CohortCorrected(_OfCohort, frozen=True, kw_only=True):
    """All voters of a void were disqualified, or all of an undone one reinstated that no other correction holds."""

    decision: Literal["void", "undo"]


EVENTS = (VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected)


class CohortUnknown(Exception):
    """No cohort has this id."""


class CohortChanged(Exception):
    """The cohort, or what was decided about it, has changed since the revision named; it is `revision` now."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.revision = revision


class CohortHeld(Exception):
    """What was decided before doesn't leave room for this decision."""


class Suspected(msgspec.Struct, frozen=True):
    """A cohort as the scan found it: which votes, how many, of how many voters whose vote stands; and its own revision."""

    cohort: str
    tool: str
    choice: Choice
    begins: datetime
    ends: datetime
    first_position: int
    last_position: int
    votes: int
    voters: int
    revision: int


class Ruling(msgspec.Struct, frozen=True):
    """A decision that an operator asks for. A void of more than `alone` votes takes two operators; 0 means never."""

    decision: Judgement
    reason: str
    by: str
    correction: str
    alone: int


_DECIDED: Final[Mapping[Judgement, Status]] = {"void": "voiding", "dismiss": "dismissed", "watch": "watched", "undo": "undoing"}
_ALREADY: Final[Mapping[Judgement, frozenset[Status]]] = {
    "void": frozenset({"voiding", "voided"}),
    "dismiss": frozenset({"dismissed"}),
    "watch": frozenset({"watched"}),
    "undo": frozenset({"waiting", "undoing"}),
}


def hand(by: str) -> str:
    """Return whose hand an operator's name proves: of whatever name at a shell (`shell:NAME`), the shell's."""
    return "shell" if by.startswith("shell:") else by


def decided(last: Event | None) -> Status:
    """Return the status after a cohort's last event: `log.cohort_status` of the database, case by case."""
    match last:
        case VoidProposed():
            return "pending"
        case CohortDecided(correction=None, decision="undo"):
            return "waiting"
        case CohortDecided(correction=str(), decision="dismiss" | "watch") | CohortCorrected(decision="void"):
            return "voided"
        case CohortDecided():
            return _DECIDED[last.decision]
    return "waiting"


def status(last: Any, found: Suspected | None) -> Status:
    """Return the status of a cohort as it was found: it waits again if it has votes that the last decision was not about."""
    said = decided(last)
    if found is None or said in ("waiting", "voiding", "undoing"):
        return said
    covers = last.first_position <= found.first_position and found.last_position <= last.last_position
    return said if covers else "waiting"


def decide_cohort(last: Any, found: Suspected | None, asked: Ruling) -> list[Event]:
    """Decide on a cohort, given its last event; no event if it is so already. Raises CohortUnknown, CohortHeld."""
    if asked.decision == "undo":
        return _undo(last, asked)
    if found is None:
        raise CohortUnknown
    present = status(last, found)
    if present in _ALREADY[asked.decision] or (
        present == "pending" and asked.decision == "void" and hand(last.by) == hand(asked.by)
    ):
        return []
    if present == "voiding" or present == "undoing":
        raise CohortHeld("Its votes are being taken out: undo that first." if present == "voiding" else _WAIT)
    if present == "voided":
        raise CohortHeld("It is voided: undo that first.")
    return [_ruled(last, found, asked, present)]


_WAIT: Final = "Its votes are being given back: try again in a moment."


def _ruled(last: Any, found: Suspected, asked: Ruling, present: Status) -> Event:
    """Return the decision on a cohort that is free for it. What was voided before it grew stays voided, and can be undone."""
    about = {field: getattr(found, field) for field in found.__struct_fields__ if field != "revision"}
    about |= {"reason": asked.reason, "by": asked.by}
    if asked.decision != "void":
        earlier = last.correction if decided(last) == "voided" else None
        return CohortDecided(**about, decision=asked.decision, correction=earlier)
    if asked.alone and found.votes > asked.alone and present != "pending":
        return VoidProposed(**about)
    proposed_by = last.by if present == "pending" else None
    return CohortDecided(**about, decision="void", correction=asked.correction, proposed_by=proposed_by)


def _undo(last: Any, asked: Ruling) -> list[Event]:
    """Take the last decision back, or one's own proposal."""
    said = decided(last)
    if said in _ALREADY["undo"]:
        return []
    about = {field: getattr(last, field) for field in _OfCohort.__struct_fields__} | {"reason": asked.reason, "by": asked.by}
    if said == "pending":
        if hand(last.by) != hand(asked.by):
            raise CohortHeld(f"{last.by} proposed this void and alone can take that back; dismiss the cohort instead.")
        return [VoidWithdrawn(**about)]
    correction = asked.correction if said in ("voiding", "voided") else None
    return [CohortDecided(**about | {"correction": correction}, decision="undo")]


def finish(last: Any, correction: str) -> list[Event]:
    """Record that all voters of a decision are corrected; no event if that is recorded, or another decision came since."""
    if not isinstance(last, CohortDecided) or last.correction != correction or decided(last) not in ("voiding", "undoing"):
        return []
    about = {field: getattr(last, field) for field in _OfCohort.__struct_fields__}
    return [CohortCorrected(**about, decision="void" if last.decision == "void" else "undo")]
