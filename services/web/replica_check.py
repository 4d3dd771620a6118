"""The check that reads go to a replica where there are any, and the metrics of how each stands."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.replicas.readers import Readers
from services.web.http.checks import Check, Checks
from services.web.http.metrics import Metrics


def watch_replicas(readers: Readers | None, checks: Checks, metrics: Metrics) -> None:
    """Have checks and metrics tell of the replicas, if there are any."""
    if readers is not None:
        checks.add(_check(readers))
        metrics.registry.register(Replicas(readers))


def _check(readers: Readers) -> Check:
    """Return the check that every replica can be read from; the primary is read from where none can, so it is not vital."""

    async def ask() -> str | None:
        wrong = [f"{one.name} isn't read from: {one.why}" for one in readers.standings() if one.is_wrong]
        return "; ".join(wrong) or None

    return Check("replicas", False, ask)


class Replicas(Collector):
    """Tells how each replica stands, and where this process reads."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        """Translate what was last seen."""
        used = GaugeMetricFamily("ballotpress_replica_used", "1 of the replica that is read from.", labels=["replica"])
        wrong = GaugeMetricFamily("ballotpress_replica_wrong", "1 of a replica that can't be read from.", labels=["replica"])
        events = GaugeMetricFamily("ballotpress_replica_lag_events", "How many events a replica lacks.", labels=["replica"])
        seconds = GaugeMetricFamily(
            "ballotpress_replica_lag_seconds", "For how long what a replica lacks has waited.", labels=["replica"]
        )
        for one in self._readers.standings():
            used.add_metric([one.name], one.used)
            wrong.add_metric([one.name], one.is_wrong)
            if one.lag is not None and one.lag_seconds is not None:
                events.add_metric([one.name], one.lag)
                seconds.add_metric([one.name], one.lag_seconds)
        yield from (used, wrong, events, seconds, self._reads())

    def _reads(self) -> Metric:
        reads = CounterMetricFamily("ballotpress_reads", "Statements of public reads, by the server asked.", labels=["of"])
        for server, count in self._readers.counts.items():
            reads.add_metric([server], count)
        return reads
