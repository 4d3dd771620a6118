"""Metrics of the API for Prometheus: what was asked, how it was answered, how long it took.

Counted in a dict and translated only when somebody looks: a request costs well under a microsecond. Labels are bounded,
because routes are named by their templates.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.newsletter.issues import Edition
from services.status.views import ViewState

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
        """Translate what was counted."""
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


class ViewGauges(Collector):
    """How the views stood when the metrics were asked for; nothing while the database can't tell."""

    def __init__(self) -> None:
        self.states: Sequence[ViewState] = ()

    def collect(self) -> Iterator[Metric]:
        """Translate the states."""
        position = GaugeMetricFamily("ballotpress_view_position", "The last event taken into a view.", labels=["view"])
        lag = GaugeMetricFamily("ballotpress_view_lag_events", "Events that a view is behind the log.", labels=["view"])
        halted = GaugeMetricFamily("ballotpress_view_halted", "1 where a view has halted at an event.", labels=["view"])
        drifted = GaugeMetricFamily("ballotpress_view_drifted", "1 where a view is not what the log says.", labels=["view"])
        for state in self.states:
            position.add_metric([state.name], state.position)
            lag.add_metric([state.name], state.lag)
            halted.add_metric([state.name], float(state.halted_position is not None))
            drifted.add_metric([state.name], float(state.drift is not None))
        yield from (position, lag, halted, drifted)


class IssueGauges(Collector):
    """Which editions were so late, when the metrics were asked for, that they wait for an operator."""

    def __init__(self) -> None:
        self.late: Sequence[str] | None = None

    def collect(self) -> Iterator[Metric]:
        """Translate them; nothing while the database can't tell."""
        text = "1 where an issue is more than a day late: `ballotpress digest send --now` sends it."
        late = GaugeMetricFamily("ballotpress_issue_late", text, labels=["edition"])
        for edition in () if self.late is None else get_args(Edition):
            late.add_metric([edition], float(edition in (self.late or ())))
        yield late


class Metrics:
    """The registry of one process; `registry` takes further collectors."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Requests()
        self.views = ViewGauges()
        self.issues = IssueGauges()
        self.registry.register(self.views)
        self.registry.register(self.issues)
        self.registry.register(self.requests)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def text(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
