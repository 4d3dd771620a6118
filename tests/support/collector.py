"""A collector of traces that takes OTLP over HTTP, and decodes what it is sent by OpenTelemetry's own protobufs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.processes import wait_for
from tests.support.receiver import Receiver, received

Value = str | int | float | bool


class Seen(NamedTuple):
    """A span as it was received; ids in hex, links as pairs of a trace's and a span's id."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    attributes: dict[str, Value]
    links: list[tuple[str, str]]


class Collector:
    """What came in; `answers` is how it answers."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.answers = "ok"
        receiver.answer = lambda received: self.answers if received.path == "/v1/traces" else "gone"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._receiver.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a process traces everything, to here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.address, "OTEL_TRACES_SAMPLER_ARG": "1"}

    @property
    def headers(self) -> list[dict[str, str]]:
        """The headers of each message."""
        return [one.headers for one in self._receiver.received]

    @property
    def raw(self) -> bytes:
        """All bytes that came in."""
        return b"\n".join(one.body for one in self._receiver.received)

    @property
    def sent(self) -> int:
        """How many bytes of an endless answer went out."""
        return self._receiver.sent

    def forget(self) -> None:
        """Forget what came in."""
        self._receiver.received.clear()

    def spans(self) -> list[Seen]:
        """Return all spans that came in."""
        found = []
        for one in self._receiver.received:
            message = ExportTraceServiceRequest.FromString(one.body)
            for resource in message.resource_spans:
                service = str(_plain(resource.resource.attributes[0].value))
                found += [_seen(service, span) for scope in resource.scope_spans for span in scope.spans]
        return found

    def await_span(self, fits: Callable[[Seen], bool]) -> Seen:
        """Wait for a span, and return the first that fits."""
        found = wait_for(lambda: next(filter(fits, self.spans()), None))
        assert found is not None, [span.name for span in self.spans()]
        return found


def _seen(service: str, span: Span) -> Seen:
    attributes = {one.key: _plain(one.value) for one in span.attributes}
    links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
    return Seen(
        service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        span.start_time_unix_nano, span.end_time_unix_nano, attributes, links,
    )  # fmt: skip


def _plain(value: AnyValue) -> Value:
    plain: Value = getattr(value, str(value.WhichOneof("value")))
    return plain


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on loopback for a while."""
    with received() as receiver:
        yield Collector(receiver)
