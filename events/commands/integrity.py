"""The commands on cohorts of votes that look bought: decide, correct a batch of voters, and record that all are corrected."""

from typing import Any, Final

import msgspec
from asyncpg import Connection
from msgspec.structs import replace

from events.commands.voters import CorrectVoters
from events.integrity import (
    CohortChanged,
    CohortDecided,
    CohortUnknown,
    Ruling,
    Status,
    Suspected,
    decide_cohort,
    decided,
    finish,
)
from events.log import ids
from events.log.command import Command, Decision, Found, Reads, Receipt, Seen
from events.voters import CorrectionRecorded, ballots_stream

REVISION: Final = "select revision from integrity.cohorts where id = $1"

AT_ONCE: Final = 100
"""So many voters are corrected while all others wait; a larger batch is decided beside the log."""


class CohortState(msgspec.Struct, frozen=True):
    """How a cohort stands after a decision, and the number of its events."""

    status: Status
    version: int


class DecideCohort(Command[CohortState], frozen=True, kw_only=True):
    """Decide on a cohort, as an operator.

    `found` is the cohort as the scan has it: None if the scan has it no more, when only an undo is left. With `revision`, which
    grows with every change and every decision, the decision is refused if that isn't the present one.
    """

    cohort: str
    found: Suspected | None
    asked: Ruling
    revision: int | None = None

    exclusive = True
    receipt_type = Receipt[CohortState]

    def reads(self, listing: object) -> Reads:
        """Name the cohort's stream. Raises CohortUnknown if `cohort` is no id."""
        if not ids.is_id(self.cohort):
            raise CohortUnknown
        return Reads((ids.stream_of(self.cohort),))

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read the cohort's own revision."""
        return Found(await connection.fetchval(REVISION, self.cohort))

    def decide(self, seen: Seen) -> Decision[CohortState]:
        """Decide by the rule. Raises CohortUnknown, CohortHeld, CohortChanged."""
        (last,) = seen.lasts
        if last is None and self.found is None:
            raise CohortUnknown
        version, event = (0, None) if last is None else (last.version, last.event)
        events = decide_cohort(event, self.found, self.asked)
        if events:
            self._must_be_present(seen.found, version)
        after = events[-1] if events else event
        return Decision(
            events=[(seen.reads.lasts[0], one) for one in events],
            value=CohortState(decided(after), version + len(events)),
            position=None if last is None else last.position,
            meta={"operator": self.asked.by},
        )

    def _must_be_present(self, revision: int | None, version: int) -> None:
        present = (revision or 0) + version
        moved = self.found is not None and revision != self.found.revision and self.asked.decision != "undo"
        if moved or self.revision not in (None, present):
            raise CohortChanged(present)


class CorrectCohort(CorrectVoters, frozen=True, kw_only=True):
    """Correct some voters of a cohort, unless another decision came since; their part of one public correction.

    An undo names the voters whom it may reinstate; those whom an operator has disqualified by name since stay out.
    """

    def reads(self, listing: object) -> Reads:
        """Name the voters' streams, the correction's two, which earlier batches have begun, and the cohort's."""
        begun = [ids.stream_of(self.correction), ballots_stream(self.correction)]
        return Reads([*super().reads(listing).lasts, *begun, ids.stream_of(self.of or "")])

    @property
    def is_large(self) -> bool:
        """Whether there are more than a few voters."""
        return len(self.cohort) > AT_ONCE

    def decide(self, seen: Seen) -> Decision[CorrectionRecorded | None]:
        """Decide by the rule; nothing if the cohort's last decision isn't the one that is carried out."""
        *lasts, _, _, cohort = seen.lasts
        if cohort is None or not isinstance(cohort.event, CohortDecided) or cohort.event.correction != self.correction:
            return Decision(events=[], value=None)
        return super().decide(replace(seen, lasts=lasts))


class FinishCohort(Command[bool], frozen=True):
    """Record that all voters of a cohort's decision are corrected; the value is whether that is recorded now."""

    cohort: str
    correction: str
    operator: str

    receipt_type = Receipt[bool]

    def reads(self, listing: object) -> Reads:
        """Name the cohort's stream."""
        return Reads((ids.stream_of(self.cohort),))

    def decide(self, seen: Seen) -> Decision[bool]:
        """Decide by the rule."""
        (last,) = seen.lasts
        events = finish(None if last is None else last.event, self.correction)
        return Decision(
            events=[(seen.reads.lasts[0], event) for event in events],
            value=bool(events),
            meta={"operator": self.operator},
        )
