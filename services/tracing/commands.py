"""The spans of commands on their way into the log: a request's wait, the batch that took it, and the commit."""

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from events.log.command import Receipt
from services.tracing.passing import word
from services.tracing.requests import POSITION, under_way
from services.tracing.spans import Spans

EVENTS: Final = "ballotpress.events"


class Asked(NamedTuple):
    """The span that a command belongs to, and when it was submitted, in nanoseconds since 1970."""

    context: SpanContext
    at: int


class Commands:
    """Traces the batches of a process; `tell` passes a word on to whoever follows the log."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self.tell: Callable[[str], None] = lambda word: None

    def asked(self) -> Asked | None:
        """Return what a command that is submitted now belongs to; None if that is not traced."""
        span = under_way.get()
        return None if span is None else Asked(span.get_span_context(), time_ns())

    def batch(self, asked: Sequence[Asked | None]) -> "_Batch | None":
        """Return the trace of a batch that begins now; None if none of its commands is traced."""
        return _Batch(self, asked) if any(asked) else None

    def ended(self, batch: "_Batch", outcomes: Sequence[Any]) -> None:
        """Send the spans of a batch. Its parent is the first request, and it is linked to all of them."""
        ended, receipts = time_ns(), [one for one in outcomes if isinstance(one, Receipt)]
        traced = [(asked, one) for asked, one in zip(batch.asked, outcomes, strict=True) if asked is not None]
        contexts = [asked.context for asked, _ in traced]
        span = self._spans.start("log.batch", contexts[0], at=batch.began, links=contexts)
        context = span.get_span_context()
        if batch.committed:
            self._spans.start("log.commit", context, at=batch.committed).end(ended)
        appended = sum(receipt.appended for receipt in receipts)
        span.set_attributes({"ballotpress.commands": len(outcomes), EVENTS: appended})
        if appended:
            position = max(receipt.position or 0 for receipt in receipts if receipt.appended)
            span.set_attribute(POSITION, position)
            self.tell(word(position, context))
        span.end(ended)
        for asked, outcome in traced:
            wait = self._spans.start("log.wait", asked.context, at=asked.at, links=[context])
            _say(wait, outcome)
            wait.end(batch.began)


class _Batch:
    """A batch of commands, some of which are traced."""

    def __init__(self, commands: Commands, asked: Sequence[Asked | None]) -> None:
        self._commands = commands
        self.asked = asked
        self.began = time_ns()
        self.committed = 0

    def committing(self) -> None:
        """Note that the commands are decided."""
        self.committed = time_ns()

    def ended(self, outcomes: Sequence[Any]) -> None:
        """Note that the batch has ended."""
        self._commands.ended(self, outcomes)


def _say(span: Span, outcome: Any) -> None:
    """Say what became of a command: its event's position, or the kind of its refusal, whose words may be personal."""
    if isinstance(outcome, Receipt):
        if outcome.position is not None:
            span.set_attribute(POSITION, outcome.position)
    else:
        span.set_attribute("error.type", type(outcome).__name__)
        span.set_status(Status(StatusCode.ERROR))
