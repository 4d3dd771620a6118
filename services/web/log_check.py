"""The check that votes can be taken, and the metrics of how they are."""

from collections.abc import Iterator
from typing import Any

from asyncpg import Pool
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from events.log import postgres
from events.log.course import Course
from services.status.writing import why_not
from services.web.http.checks import Check


def log_check(pool: "Pool[Any]", course: Course) -> Check:
    """Return the check that the log takes votes; reads are served in any case, so it is not vital."""

    async def ask() -> str | None:
        stuck = course.stuck_seconds
        why = await why_not(pool, course.error if stuck else None, is_stuck=stuck > 0)
        if why is None and stuck:
            why = "a batch of votes is held up"
        return f"{why} (for {stuck:.0f} s)" if why and stuck else why

    return Check("log", False, ask)


def servers_check(dsn: str) -> Check:
    """Return the check that of several servers one alone takes writes.

    We write to that one alone; processes that aren't ours might write to the others.
    """

    async def ask() -> str | None:
        servers = postgres.servers_of(dsn)
        return next(iter((*servers.left, *servers.strange)), None)

    return Check("servers", False, ask)


class Batches(Collector):
    """Tells how the batches of this process' committer fared."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def collect(self) -> Iterator[Metric]:
        """Translate the counts."""
        batches = CounterMetricFamily("ballotpress_log_batches", "Batches of commands, by outcome.", labels=["outcome"])
        batches.add_metric(["committed"], self._course.committed)
        batches.add_metric(["failed"], self._course.failed)
        yield batches
        yield GaugeMetricFamily(
            "ballotpress_log_since_good_seconds",
            "Seconds since the last batch that was committed.",
            value=self._course.since_good,
        )
        yield GaugeMetricFamily(
            "ballotpress_log_stuck_seconds",
            "Seconds since the last good batch while those after it fail or are held up; 0 while votes are taken.",
            value=self._course.stuck_seconds,
        )
