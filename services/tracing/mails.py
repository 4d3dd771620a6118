"""The spans of the newsletter: an issue, the chunks of its mails, and each conversation with the relay.

An issue's ids follow from the site and its number, so any worker's chunks are under it. No span says whom a mail is for.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import SpanContext

from services.tracing.requests import under_way
from services.tracing.sampling import Sampling
from services.tracing.spans import Spans, Value, known


class Mails:
    """Traces every issue, and of the chunks the share that is set."""

    def __init__(self, spans: Spans, sampling: Sampling, site: str) -> None:
        self._spans = spans
        self._sampling = sampling
        self._site = site

    def issue(self, number: int, edition: str, began: int) -> None:
        """Send the span of an issue that was compiled and planned, begun at a time in nanoseconds since 1970."""
        said: dict[str, Value] = {"ballotpress.issue": number, "ballotpress.edition": edition}
        self._spans.start_known("newsletter.issue", self._of(number), at=began, attributes=said).end()

    @contextmanager
    def chunk(self, number: int, mails: int) -> Iterator[None]:
        """Trace a chunk of mails while it is sent; `number` is its issue's, 0 if it is of none."""
        if not self._sampling.takes():
            yield
            return
        said = {"ballotpress.issue": number, "ballotpress.mails": mails}
        span = self._spans.start("newsletter.chunk", self._of(number) if number else None, attributes=said)
        token = under_way.set(span)
        try:
            yield
        finally:
            under_way.reset(token)
            span.end()

    def conversation(self, began: int, **said: str | int | None) -> None:
        """Send the span of a mail's conversation with the relay, and what the relay said, if its chunk is traced."""
        if (chunk := under_way.get()) is None:
            return
        span = self._spans.start("relay.conversation", chunk.get_span_context(), at=began)
        span.set_attributes({f"ballotpress.relay.{name}": value for name, value in said.items() if value is not None})
        span.end()

    def _of(self, number: int) -> SpanContext:
        return known(f"{self._site} issue {number}")
