"""Admission: what is refused when more comes than the process can carry, and how it leaves when it is told to stop."""

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import pytest

from services.web.http.admission import (
    AIM_SECONDS,
    FEWEST_WRITES,
    FORGET_SECONDS,
    MOST_WRITES,
    OLDEST_SECONDS,
    SPANS,
    Admission,
    Place,
    Sampler,
)
from tests.support import servers
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.settings import UNLIMITED, environ

# The API, with a signal that blocks its event loop until a file appears.
BLOCKABLE = """
import signal, sys, time
from pathlib import Path
from services.cli import main
blocked, release = map(Path, sys.argv[1:3])
def block(*_):
    blocked.touch()
    while not release.exists():
        time.sleep(0.02)
signal.signal(signal.SIGUSR1, block)
sys.argv[1:] = sys.argv[3:]
main()
"""


def test_a_request_that_waited_too_long_is_refused() -> None:
    """Age decides, for reads and writes alike; who must look at a busy process is let through."""
    admission = Admission()
    late = OLDEST_SECONDS + 0.1
    assert admission.enter("GET", "/v1/tools", 10.0, OLDEST_SECONDS / 2) is not None
    assert admission.enter("GET", "/v1/tools", 10.0, late) is None
    assert admission.enter("PUT", "/v1/tools/a/vote", 10.0, late) is None
    for path in ("/health/ready", "/metrics", "/v1/ops/status", "/ops"):
        assert admission.enter("GET", path, 10.0, late) is not None
    assert admission.refused == 2


def held(place: Place | None) -> Place:
    """Return a place that was given."""
    assert place is not None
    return place


def test_writes_are_refused_before_reads_and_places_are_freed() -> None:
    """Beyond so many requests under way the next is refused, a write first; each end admits another."""
    admission = Admission(most_writes=2, most_reads=3)
    places = [held(admission.enter("PUT", "/", 10.0, 0.0)) for _ in range(2)]
    assert admission.enter("PUT", "/", 10.0, 0.0) is None
    assert admission.enter("GET", "/", 10.0, 0.0) is not None
    assert admission.enter("GET", "/", 10.0, 0.0) is None
    for place in places:
        place.leave(10.0)
    assert admission.under_way == 1
    assert admission.enter("PUT", "/", 10.0, 0.0) is not None


def test_a_request_that_waits_for_its_caller_holds_no_place_for_long() -> None:
    """What is under way for seconds waits for somebody else, so it can't shut out the others."""
    admission = Admission(most_writes=1)
    slow = held(admission.enter("PUT", "/", 10.0, 0.0))
    assert admission.enter("PUT", "/", 10.0 + FORGET_SECONDS / 4, 0.0) is None
    for n in range(SPANS + 1):
        held(admission.enter("GET", "/health/live", 10.7 + n * FORGET_SECONDS / SPANS, 0.0)).leave(30.0)
    assert admission.enter("PUT", "/", 11.1 + FORGET_SECONDS, 0.0) is not None
    slow.leave(30.0)
    assert admission.writes == 1


def test_slow_writes_make_room_for_fewer_and_quick_ones_for_more() -> None:
    """As writes come to take seconds, fewer are admitted, down to a floor; answered soon again, all that a batch can hold."""
    admission = Admission()
    now = 10.0

    def spans(count: int, seconds: float) -> int:
        nonlocal now
        for _ in range(count):
            held(admission.enter("PUT", "/health/", now, 0.0)).leave(now + seconds)
            now += FORGET_SECONDS / SPANS
        return admission.writes

    assert spans(3, AIM_SECONDS / 3) == MOST_WRITES
    assert spans(3, 2 * AIM_SECONDS) < MOST_WRITES
    assert spans(30, 2 * AIM_SECONDS) == FEWEST_WRITES
    assert spans(30, AIM_SECONDS / 3) == MOST_WRITES


def test_lines_about_slow_requests_are_sampled() -> None:
    """A second has ten lines at most; the next one's first says how many were left out."""
    sampler = Sampler()
    said = [sampler.left_out(7.0 + n / 1000) for n in range(500)]
    assert said == [0] * 10 + [None] * 490
    assert sampler.left_out(8.0) == 490
    assert sampler.left_out(8.5) == 0


@pytest.fixture
def database(postgres: servers.Postgres, template: str) -> Iterator[str]:
    """A migrated database for an API process."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database of_admission template {template}"))
    yield postgres.dsn("of_admission")
    asyncio.run(servers.execute(postgres.dsn(), "drop database of_admission with (force)"))


@contextmanager
def api(dsn: str, valkey_url: str, folder: Path, **more: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run an API process whose loop can be blocked; give its port."""
    port = free_port()
    command = (sys.executable, "-P", "-c", BLOCKABLE, folder / "blocked", folder / "release", "api", "--port", str(port))
    process = subprocess.Popen(command, env=environ(dsn, valkey_url, **UNLIMITED, **more), stderr=subprocess.DEVNULL)
    try:
        assert wait_for(lambda: get(port, "/health/live").status == 200)
        yield port, process
    finally:
        process.kill()
        process.wait()


class Answer(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: Message
    body: str


def asked(port: int, path: str) -> http.client.HTTPConnection:
    """Send a GET, and leave its answer unread."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path)
    return connection


def answered(connection: http.client.HTTPConnection) -> Answer:
    """Read the answer and close the connection."""
    with closing(connection):
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode())


def get(port: int, path: str) -> Answer:
    """Return the answer to a GET; status 0 where nobody listens."""
    try:
        return answered(asked(port, path))
    except OSError:
        return Answer(0, Message(), "")


def test_a_blocked_loop_refuses_instead_of_serving_late(database: str, valkey_url: str, tmp_path: Path) -> None:
    """What came while the loop stood still is refused at once when it goes on, with when to come back; health is answered."""
    with api(database, valkey_url, tmp_path) as (port, process):
        process.send_signal(signal.SIGUSR1)
        assert wait_for((tmp_path / "blocked").exists)
        late, health = asked(port, "/v1/tools"), asked(port, "/health/live")
        time.sleep(OLDEST_SECONDS + 1.5)
        (tmp_path / "release").touch()
        refused = answered(late)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert json.loads(refused.body)["type"] == "/problems/overloaded"
        assert answered(health).status == 200
        assert get(port, "/v1/tools").status == 200
        assert "ballotpress_http_refused_total 1.0" in get(port, "/metrics").body


def test_a_process_that_leaves_says_so_before_it_is_gone(database: str, valkey_url: str, tmp_path: Path) -> None:
    """After SIGTERM readiness is 503, every answer closes its connection, and new callers are still served; then it ends."""
    with api(database, valkey_url, tmp_path, BALLOTPRESS_DRAIN_SECONDS="900") as (port, process):
        with closing(asked(port, "/v1/tools")) as kept:
            before = kept.getresponse()
            assert before.read() and before.status == 200 and "connection" not in before.headers
            process.send_signal(signal.SIGTERM)
            assert wait_for(lambda: get(port, "/health/ready").status == 503)
            assert "leaving" in get(port, "/health/ready").body
            kept.request("GET", "/v1/tools")
            last = kept.getresponse()
            assert last.read() and (last.status, last.headers["connection"]) == (200, "close")
        fresh = get(port, "/v1/tools")
        assert (fresh.status, fresh.headers["connection"]) == (200, "close")
        process.send_signal(signal.SIGTERM)  # a second one doesn't wait
        assert process.wait(PATIENCE) == 0
