"""Spans, and their way to a collector by OTLP over HTTP, on a thread of its own.

Nobody ever waits for the collector. While it is away, a bounded number of spans wait; what doesn't fit, or what it doesn't
take, is dropped and counted.
"""

import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, set_span_in_context

from services.setting_groups import Tracing
from services.tracing.way import PATIENCE_SECONDS, Way

MOST_WAITING: Final = 2048
"""Spans that wait to be sent, about 4 MB."""
AT_ONCE: Final = 512
EVERY_MILLISECONDS: Final = 1000

Value = str | int | float | bool

logger = logging.getLogger(__name__)


class Spans:
    """The spans of one process; `kind` names it. It is closed once."""

    def __init__(self, settings: Tracing, kind: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the exporter says below what it would at each message
        self._exporter = _Exporter(settings)
        self._waiting = _Waiting(self._exporter)
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not to be traced gets no span at all
            resource=Resource({"service.name": f"ballotpress-{kind}", "service.version": version("ballotpress")}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._waiting)
        self._tracer = self._provider.get_tracer("ballotpress")

    @property
    def sent(self) -> int:
        """How many spans the collector took."""
        return self._exporter.sent

    @property
    def dropped(self) -> int:
        """How many spans were lost: too many waited, or the collector didn't take them."""
        return self._exporter.dropped + self._waiting.dropped

    def start(
        self,
        name: str,
        parent: SpanContext | None,
        *,
        at: int | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[SpanContext] = (),
        attributes: Mapping[str, Value] = {},
    ) -> Span:
        """Begin a span, now or at a time in nanoseconds since 1970; it is sent once it has ended."""
        return self._tracer.start_span(
            name, _under(parent), kind, attributes, [Link(context) for context in links], start_time=at
        )

    def start_known(self, name: str, context: SpanContext, *, at: int, attributes: Mapping[str, Value]) -> Span:
        """Begin a span whose ids follow from what it is about, so that other processes can name it as a parent."""
        self._ids.next = context
        return self._tracer.start_span(name, Context(), attributes=attributes, start_time=at)

    def close(self) -> None:
        """Send what waits, if the collector takes it, and end the thread."""
        self._exporter.is_closing = True
        self._provider.shutdown()


def known(subject: str) -> SpanContext:
    """Return the context that follows from a subject."""
    ids = blake2b(subject.encode(), digest_size=24).digest()
    return SpanContext(int.from_bytes(ids[:16]), int.from_bytes(ids[16:]), True, TraceFlags(TraceFlags.SAMPLED))


def _under(parent: SpanContext | None) -> Context:
    return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


class _Ids(RandomIdGenerator):
    """Random ids, and once those of `next`."""

    next: SpanContext | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.next is None else self.next.trace_id

    def generate_span_id(self) -> int:
        known, self.next = self.next, None
        return super().generate_span_id() if known is None else known.span_id


class _Exporter(SpanExporter):
    """Sends spans, and counts them: only the sending thread writes the counts."""

    def __init__(self, settings: Tracing) -> None:
        self._way = Way(settings)
        self._fails = False
        self.is_closing = False
        self.sent = 0
        self.dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        taken = not (self.is_closing and self._fails) and self._taken(spans)
        if taken:
            self.sent += len(spans)
        else:
            self.dropped += len(spans)
        if taken == self._fails:
            self._fails = not taken
            logger.warning("the collector of traces %s", "takes them again" if taken else "takes none: spans are dropped")
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def _taken(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            return self._way.takes(encode_spans(spans).SerializeToString())
        except Exception:  # whatever the way raises, the thread must go on
            return False

    def shutdown(self) -> None:
        self._way.close()


class _Waiting(SpanProcessor):
    """Lets a bounded number of spans wait for the sending thread."""

    def __init__(self, exporter: _Exporter) -> None:
        self._exporter = exporter
        self._inner = BatchSpanProcessor(exporter, MOST_WAITING, EVERY_MILLISECONDS, AT_ONCE, PATIENCE_SECONDS * 1000)
        self._taken_in = 0
        self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._taken_in - self._exporter.sent - self._exporter.dropped >= MOST_WAITING:
            self.dropped += 1
            return
        self._taken_in += 1
        self._inner.on_end(span)

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]


def spelled(context: SpanContext) -> str:
    """Return the trace's id in hex, as logs and exemplars name it."""
    return trace.format_trace_id(context.trace_id)
