"""Metrics for Prometheus: what was asked, how it was answered, how long it took.

Requests are counted in a dict, which costs well under a microsecond, and translated only when somebody looks. Labels are
bounded, because routes are named by their templates. Whoever asks for OpenMetrics is told a traced request in each bucket.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain
from time import monotonic, time
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from services.web.http.admission import Admission

if TYPE_CHECKING:
    from services.tracing.spans import Spans

T = TypeVar("T")

REST: Final = 4
"""How many times as long as a reading took none begins: together they take a fifth of the process, however many ask."""
MOST_REST_SECONDS: Final = 1.0
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Requests(Collector):
    """Counts requests by method, route and class of status."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, int], list[int]] = {}
        self._seconds: dict[tuple[str, str, int], float] = {}
        self._traced: dict[tuple[tuple[str, str, int], int], Exemplar] = {}

    def note(self, method: str, route: str, status: int, seconds: float, trace: str | None = None) -> None:
        """Count one request; `trace` is the id of its trace, if it has one."""
        key = (method, route, status // 100)
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = [0] * (len(BUCKETS) + 1)
            self._seconds[key] = 0.0
        bucket = bisect_left(BUCKETS, seconds)
        buckets[bucket] += 1
        self._seconds[key] += seconds
        if trace is not None:
            self._traced[key, bucket] = Exemplar({"trace_id": trace}, seconds, time())

    def collect(self) -> Iterator[Metric]:
        """Translate the counts."""
        names = ["method", "route", "status"]
        requests = CounterMetricFamily("ballotpress_http_requests", "Requests answered.", labels=names)
        durations = HistogramMetricFamily(
            "ballotpress_http_request_seconds", "Time from a request to the beginning of its answer.", labels=names
        )
        for key, buckets in self._buckets.items():
            method, route, status = key
            labels = [method, route, f"{status}xx"]
            requests.add_metric(labels, sum(buckets))
            durations.add_metric(labels, self._cumulative(key, buckets), self._seconds[key])
        yield requests
        yield durations

    def _cumulative(self, key: tuple[str, str, int], buckets: list[int]) -> list[Bucket]:
        """Return each bucket's bound, the count up to it, and a traced request in it if there is one."""
        found: list[Bucket] = []
        for n, (bound, total) in enumerate(zip([*map(str, BUCKETS), "+Inf"], accumulate(buckets), strict=True)):
            traced = self._traced.get((key, n))
            found.append((bound, float(total)) if traced is None else (bound, float(total), traced))
        return found


class Load(Collector):
    """Tells how many requests are under way, and how many were refused because too many were."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """Translate the counts."""
        yield GaugeMetricFamily("ballotpress_http_under_way", "Requests under way.", value=self._admission.under_way)
        yield CounterMetricFamily(
            "ballotpress_http_refused", "Requests refused because more came than could be answered in time.",
            value=self._admission.refused,
        )  # fmt: skip


class SpansSent(Collector):
    """Tells how many spans of this process a collector of traces took, and how many were lost."""

    def __init__(self, spans: "Spans") -> None:
        self._spans = spans

    def collect(self) -> Iterator[Metric]:
        """Translate the counts."""
        spans = CounterMetricFamily("ballotpress_spans", "Spans of this process, by what became of them.", labels=["outcome"])
        spans.add_metric(["sent"], self._spans.sent)
        spans.add_metric(["dropped"], self._spans.dropped)
        yield spans


class Gauge(NamedTuple):
    """A value that is read when the metrics are asked for; `values` by the value of its one label."""

    name: str
    text: str
    label: str
    values: Mapping[str, float]

    def collect(self) -> Iterator[Metric]:
        """Translate the values."""
        metric = GaugeMetricFamily(self.name, self.text, labels=[self.label])
        for value, number in self.values.items():
            metric.add_metric([value], number)
        yield metric


class Readings(Generic[T]):
    """Costly readings that anybody may ask for: one at a time, with a rest after each, and shared by all who wait for it."""

    def __init__(self) -> None:
        self._next: asyncio.Task[T] | None = None
        self._turn = asyncio.Lock()
        self._rested = 0.0

    async def next(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return what a reading finds that begins after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._make(read))
        return await asyncio.shield(self._next)  # the others wait on when one caller hangs up

    async def _make(self, read: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            await asyncio.sleep(self._rested - monotonic())
            self._next = None
            began = monotonic()
            try:
                return await read()
            finally:
                ended = monotonic()
                self._rested = ended + min(MOST_REST_SECONDS, REST * (ended - began))


class Seen(Collector):
    """Metrics that were read before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        """Return the metrics."""
        return self._metrics


class Texts:
    """The metrics of a moment, in either format; what several callers ask for is written once."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = CollectorRegistry(auto_describe=False)
        self._metrics.register(Seen(list(metrics)))

    @cached_property
    def plain(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._metrics)

    @cached_property
    def openmetrics(self) -> bytes:
        """OpenMetrics, with the traces of requests."""
        return cast("bytes", openmetrics.generate_latest(self._metrics))  # type: ignore[no-untyped-call]


class Metrics:
    """The registry of one process, with collectors of its own; `registry` takes further ones."""

    def __init__(self, *own: Collector) -> None:
        self.registry = CollectorRegistry()
        self.readings = Readings[Texts]()
        self.requests = Requests()
        for collector in (self.requests, *own):
            self.registry.register(collector)
        self.wrong_tokens = Counter("ballotpress_wrong_operator_tokens", "Wrong operators' tokens.", registry=self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def texts(self, gauges: Sequence[Gauge] = ()) -> Texts:
        """Return all metrics, and these gauges, as they are now."""
        return Texts(chain(*(gauge.collect() for gauge in gauges), self.registry.collect()))
