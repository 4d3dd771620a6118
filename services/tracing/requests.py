"""The span of a request, from its head to the beginning of its answer; the parent is whoever sent a `traceparent` (W3C)."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.logs import trace_id
from services.tracing.sampling import Sampling
from services.tracing.spans import Spans, spelled

under_way: Final[ContextVar[Span | None]] = ContextVar("under_way", default=None)
"""The span of what this task works for."""
POSITION: Final = "ballotpress.position"

_propagator: Final = TraceContextTextMapPropagator()


class Requests:
    """Traces the requests of a process."""

    def __init__(self, spans: Spans, sampling: Sampling) -> None:
        self._spans = spans
        self._sampling = sampling

    def begin(self, head: Mapping[bytes, bytes]) -> Span | None:
        """Begin the span of a request with these headers; None if it is not traced."""
        parent = _parent(head)
        span = None
        if self._sampling.takes(None if parent is None else parent.trace_flags.sampled):
            span = self._spans.start("request", parent, kind=SpanKind.SERVER)
        under_way.set(span)
        trace_id.set(None if span is None else spelled(span.get_span_context()))
        return span

    def end(self, span: Span, method: str, route: str, status: int) -> str:
        """End a request's span as its answer begins, and return the trace's id; `method` is one of a few words."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        return spelled(span.get_span_context())


def _parent(head: Mapping[bytes, bytes]) -> SpanContext | None:
    """Return the caller's span; None where the header is missing or malformed. Its `tracestate` goes no further."""
    given = head.get(b"traceparent")
    if given is None:
        return None
    found = get_current_span(_propagator.extract({"traceparent": given.decode("latin-1")})).get_span_context()
    return found if found.is_valid else None
