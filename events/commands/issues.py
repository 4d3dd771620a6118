"""The command that records that an issue of the newsletter has gone out."""

from typing import Final

from events.issues import IssueSent, record_sent, stream
from events.log.command import Command, Decision, Effect, Reads, Receipt, Seen

RECORDED: Final = "update newsletter.issues set sent_recorded = true where number = $1"


class RecordIssueSent(Command[bool], frozen=True):
    """Record that an issue has gone out, once; the value is whether it was recorded now."""

    sent: IssueSent

    receipt_type = Receipt[bool]

    def reads(self, listing: object) -> Reads:
        """Name the issue's stream."""
        return Reads((stream(self.sent.issue),))

    def decide(self, seen: Seen) -> Decision[bool]:
        """Decide by the rule."""
        (last,) = seen.lasts
        events = record_sent(None if last is None else last.event, self.sent)
        return Decision(
            events=[(seen.reads.lasts[0], event) for event in events],
            value=bool(events),
            effects=[Effect(RECORDED, (self.sent.issue,))],
        )
