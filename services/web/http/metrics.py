"""Metrics for Prometheus: what was asked, how it was answered, how long it took.

Requests are counted in a dict, which costs well under a microsecond, and translated only when somebody looks. Labels are
bounded, because routes are named by their templates.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.web.http.admission import Admission

REST: Final = 4
"""How many times as long as a reading took none begins: together they take a fifth of the process, however many ask."""
MOST_REST_SECONDS: Final = 1.0
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})


class Requests(Collector):
    """Counts requests by method, route and class of status."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, int], list[int]] = {}
        self._seconds: dict[tuple[str, str, int], float] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status // 100)
        buckets = self._buckets.get(key)
        if buckets is None:
            key = (method if method in _METHODS else "other", route, status // 100)
            buckets = self._buckets.setdefault(key, [0] * (len(BUCKETS) + 1))
            self._seconds.setdefault(key, 0.0)
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[key] += seconds

    def collect(self) -> Iterator[Metric]:
        """Translate the counts."""
        names = ["method", "route", "status"]
        requests = CounterMetricFamily("ballotpress_http_requests", "Requests answered.", labels=names)
        durations = HistogramMetricFamily(
            "ballotpress_http_request_seconds", "Time from a request to the beginning of its answer.", labels=names
        )
        for (method, route, status), buckets in self._buckets.items():
            labels = [method, route, f"{status}xx"]
            requests.add_metric(labels, sum(buckets))
            durations.add_metric(labels, _cumulative(buckets), self._seconds[method, route, status])
        yield requests
        yield durations


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    total, sums = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], buckets, strict=True):
        total += count
        sums.append((bound, float(total)))
    return sums


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


class Readings:
    """Costly readings that anybody may ask for: one at a time, with a rest after each, and shared by all who wait for it."""

    def __init__(self) -> None:
        self._next: asyncio.Task[bytes] | None = None
        self._turn = asyncio.Lock()
        self._rested = 0.0

    async def next(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return what a reading finds that begins after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._make(read))
        return await asyncio.shield(self._next)  # the others wait on when one caller hangs up

    async def _make(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        async with self._turn:
            await asyncio.sleep(self._rested - monotonic())
            self._next = None
            began = monotonic()
            try:
                return await read()
            finally:
                ended = monotonic()
                self._rested = ended + min(MOST_REST_SECONDS, REST * (ended - began))


class Metrics:
    """The registry of one process; `registry` takes further collectors."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.readings = Readings()
        self.requests = Requests()
        self.registry.register(self.requests)
        self.wrong_tokens = Counter("ballotpress_wrong_operator_tokens", "Wrong operators' tokens.", registry=self.registry)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def text(self, gauges: Iterable[Gauge] = ()) -> bytes:
        """Return all metrics, and these gauges, in Prometheus' text format."""
        return b"".join(map(generate_latest, gauges)) + generate_latest(self.registry)
