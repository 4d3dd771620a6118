"""A collector that is away, slow or full holds nobody up: what waits is bounded, and what is lost is counted."""

import logging
import subprocess
import sys
import time

import pytest

from services.setting_groups import Header, Tracing
from services.tracing.opening import open_tracing
from services.tracing.spans import MOST_WAITING, Spans
from services.tracing.way import PATIENCE_SECONDS
from tests.support.collector import collecting
from tests.support.processes import free_port, wait_for
from tests.support.settings import settings


def ended(spans: Spans, count: int) -> int:
    """End so many spans; return how many of them took as long as a collector is waited for."""
    held_up = 0
    for _ in range(count):
        began = time.perf_counter()
        spans.start("log.batch", None).end()
        held_up += time.perf_counter() - began >= PATIENCE_SECONDS
    return held_up


def test_a_collector_that_is_away_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """Spans are dropped and counted, never more than a few wait, and the log says it once."""
    spans = Spans(Tracing(endpoint=f"http://127.0.0.1:{free_port()}"), "api")
    with caplog.at_level(logging.WARNING):
        ended(spans, MOST_WAITING * 3)
        assert spans.sent + spans.dropped >= MOST_WAITING * 2
        began = time.monotonic()
        spans.close()
    assert time.monotonic() - began < 30  # one patience and the way through a busy machine, not one a message
    assert (spans.sent, spans.dropped) == (0, MOST_WAITING * 3)
    assert [record.message for record in caplog.records].count("the collector of traces takes none: spans are dropped") == 1
    assert {record.name for record in caplog.records} == {"services.tracing.spans"}


def test_a_collector_that_never_answers_is_given_up() -> None:
    """Whoever ends spans goes on at once, and the process ends after one patience, not one for each message that waits."""
    with collecting() as collector:
        collector.answers = "silent"
        spans = Spans(Tracing(endpoint=collector.address), "api")
        assert ended(spans, MOST_WAITING) < MOST_WAITING / 100  # a busy machine holds up one or two
        assert wait_for(lambda: bool(collector.headers))
        began = time.monotonic()
        spans.close()
        assert time.monotonic() - began < 4 * PATIENCE_SECONDS + 20  # a busy machine's part
        assert (spans.sent, spans.dropped) == (0, MOST_WAITING)


@pytest.mark.parametrize(
    ("answers", "taken"),
    [("trickles", True), ("endless", True), ("drips", False), ("heads", False), ("informs", False), ("redirects", False)],
)
def test_a_hostile_collector_costs_neither_time_nor_memory(answers: str, taken: bool) -> None:
    """Its status alone is read, within one patience; spans go on being sent and counted, and the process ends."""
    with collecting() as collector:
        collector.answers = answers
        spans = Spans(Tracing(endpoint=collector.address), "api")
        for round_ in (1, 2):
            ended(spans, 3)
            assert wait_for(lambda count=3 * round_: (spans.sent if taken else spans.dropped) == count)
        began = time.monotonic()
        spans.close()
        assert time.monotonic() - began < 4 * PATIENCE_SECONDS + 20  # a busy machine's part
        assert (spans.sent, spans.dropped) == ((6, 0) if taken else (0, 6))
        assert len(collector.headers) == 2  # nothing is sent twice, nor to where a redirect leads
        assert collector.sent < 64_000_000


def test_a_collector_that_comes_back_is_sent_to_again() -> None:
    """What ended while it was away is lost, what ends later arrives, with the headers that are set."""
    with collecting() as collector:
        collector.answers = "fails"
        spans = Spans(Tracing(endpoint=collector.address, headers=(Header("api-key", "s3cret"),)), "worker")
        ended(spans, 3)
        assert wait_for(lambda: spans.dropped == 3)
        collector.answers = "ok"
        ended(spans, 2)
        assert wait_for(lambda: spans.sent == 2)
        spans.close()
        assert all(headers["api-key"] == "s3cret" for headers in collector.headers)
        assert {span.service for span in collector.spans()} == {"ballotpress-worker"}


def test_traces_can_be_turned_off() -> None:
    """With OpenTelemetry's own switch off, a collector's name changes nothing."""
    wanted = settings(
        "postgresql://127.0.0.1:1/none", "redis://127.0.0.1:1/0", tracing=Tracing(endpoint="http://127.0.0.1:9", is_off=True)
    )
    assert open_tracing(wanted, "api") is None


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    """What every process loads knows no library of traces: whoever doesn't trace needs none."""
    loads = "import services.web.app, services.worker, services.projector, sys"
    look = "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    said = subprocess.run((sys.executable, "-c", f"{loads}; {look}"), capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.strip() == "[]"
