"""The API as a process: real bytes on a real port, and an orderly end."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.support import calling, servers, wire
from tests.support.log import add_tools, patient
from tests.support.processes import COMMAND, PATIENCE, free_port, wait_for
from tests.support.runners import catch_up_all
from tests.support.settings import UNLIMITED, environ
from tests.support.streams import streaming

OPERATOR = "token-of-who-reads-the-log"


@contextmanager
def running(dsn: str, valkey_url: str, program: tuple[str, ...] = COMMAND) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run one API process; give its port."""
    port = free_port()
    command = (*program, "api", "--port", str(port))
    process = subprocess.Popen(
        command,
        env=environ(dsn, valkey_url, **UNLIMITED, BALLOTPRESS_OPERATOR_TOKENS=f"reader:read:{OPERATOR}"),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert wait_for(lambda: _answers(port) or process.poll() is not None)
        yield port, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def database(postgres: servers.Postgres, template: str) -> Iterator[str]:
    """A migrated database for the processes of this file."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database of_processes template {template}"))
    yield postgres.dsn("of_processes")
    asyncio.run(servers.execute(postgres.dsn(), "drop database of_processes with (force)"))


@pytest.fixture(scope="module")
def port(database: str, valkey_url: str) -> Iterator[int]:
    """The port of one API process that all tests share which don't end it."""
    with running(database, valkey_url) as (port, _):
        yield port


@pytest.fixture
def api(database: str, valkey_url: str) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """An API process of the test's own."""
    with running(database, valkey_url) as made:
        yield made


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def said(port: int, raw: bytes) -> bytes:
    """Send bytes as they are, and give all that comes back."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(raw)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (b"GET /health/live HTTP/1.1", (200,)),
        (b"HEAD /health/live HTTP/1.1", (200,)),
        (b"GET /v1/tools/%ff HTTP/1.1", (400, 404)),
        (b"GET /v1/tools/%00 HTTP/1.1", (400, 404)),
        (b"GET /v1/tools/% HTTP/1.1", (400, 404)),
        (b"GET /v1/tools/\xff\xfe HTTP/1.1", (400, 404)),
        (b"GET /v1/tools/..%2f..%2fetc HTTP/1.1", (400, 404)),
        (b"GET /v1/tools?cursor=%ff HTTP/1.1", (400,)),
        (b"GET /v1/tools?limit=\xff HTTP/1.1", (400,)),
        (b"GET /" + b"a" * 8000 + b" HTTP/1.1", (404, 414)),
        (b"BREW /health/live HTTP/1.1", (405,)),
        (b"GET /health/live HTTP/9.9", (400, 505)),
        (b"nonsense", (400,)),
    ],
)
def test_odd_request_lines_are_the_caller_s_fault(port: int, line: bytes, statuses: tuple[int, ...]) -> None:
    """Broken escapes, NUL, raw bytes and unknown methods are 4xx; the process goes on."""
    answer = said(port, line + b"\r\nHost: site.test\r\nConnection: close\r\n\r\n")
    assert int(answer.split()[1]) in statuses, answer
    assert b" 200 " in said(port, b"GET /health/live HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "head", [b"Host: a b", b"Host: site.test\r\nContent-Length: abc", b"Host: site.test\r\nContent-Length: -1"]
)
def test_odd_heads_are_the_caller_s_fault(port: int, head: bytes) -> None:
    """Heads that make no sense are 400."""
    answer = said(port, b"POST /v1/visitors HTTP/1.1\r\n" + head + b"\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] == b"400", answer


CLOSE = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + CLOSE, b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + CLOSE, b"400"),
        (b"GET / HTTP/1.1\r\nHost: a<b\r\n" + CLOSE, b"400"),
        (b"GET /health/live HTTP/1.0\r\n\r\n", b"200"),
        (b"POST /v1/newsletter/subscriptions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n" + CLOSE, b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 33_000 + b"\r\n" + CLOSE, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b";" * 300_000 + b"\r\n" + CLOSE, b"431"),
    ],
)
def test_heads_that_two_servers_could_read_in_two_ways_are_refused(port: int, raw: bytes, status: bytes) -> None:
    """No Host, two Hosts, one of no host, an encoding beside chunked: 400; heads over 32 kB: 431. HTTP/1.0 knows no Host."""
    assert said(port, raw).split()[1] == status


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 40\r\n" + wire.CHUNKED, wire.CHUNKED + b"Content-Length: 40\r\n", wire.CHUNKED]
)
def test_nothing_is_read_behind_a_chunked_body(port: int, headers: bytes) -> None:
    """A second request there could be another caller's body to a proxy: one answer comes, and the connection ends."""
    sent = b"POST /v1/visitors HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n0\r\n\r\n"
    answer = said(port, sent + b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert (answer.count(b"HTTP/1.1 "), answer.split()[1]) == (1, b"201")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("frame", wire.BROKEN_FRAMES)
def test_a_broken_chunk_is_the_caller_s_fault(port: int, frame: bytes) -> None:
    """A body whose frames make no sense is answered 400, and the connection ends."""
    head = (
        b"POST /v1/newsletter/subscriptions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + wire.CHUNKED + b"\r\n"
    )
    answer = said(port, head + frame)
    assert answer.split()[1] == b"400", answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST /v1/visitors HTTP/1.1", b"PUT /v1/tools/some-tool/vote HTTP/1.1"])
def test_a_refused_body_that_never_comes_is_not_waited_for(port: int, line: bytes) -> None:
    """413 comes at once with `Connection: close`, and the connection ends within moments, though nothing was ever sent."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(line + b"\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        assert head.split()[1] == b"413"
        assert b"connection: close" in head.lower()
        connection.settimeout(20)
        while chunk := connection.recv(65536):
            body += chunk
        assert json.loads(body)["status"] == 413


def test_no_silence_holds_a_place(port: int) -> None:
    """Connections that say nothing, half a head, or nothing more after an answer are ended by the server."""
    live = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    silent = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(3)]
    for connection, sent in zip(silent, (b"", b"GET / HTTP/1.1\r\nHo", live), strict=True):
        connection.sendall(sent)
    for connection in silent:
        with connection:
            while connection.recv(65536):
                pass


def test_one_address_does_not_shut_everybody_out(database: str, valkey_url: str) -> None:
    """Once places run short (here at once), a network keeps its share (here 4): the rest is shut, and others are served."""
    few = "from services.web import app; app.CROWDED, app.NETWORK_CONNECTIONS = 0, 4; from services.cli import main; main()"
    with running(database, valkey_url, (sys.executable, "-c", few)) as (port, process):
        silent = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(30)]
        for connection in silent[:26]:
            assert connection.recv(1) == b""
        assert b" 200 " in said(port, b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + CLOSE)
        for connection in silent:
            connection.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert b"took more than their share" in errors


def test_hostile_requests_are_answered(port: int) -> None:
    """Silent and slow bodies, broken frames, odd heads and junk: no answer is 5xx, none is awaited for long, all goes on."""
    number = int(os.environ.get("BALLOTPRESS_TEST_HOSTILE", "300"))
    found = asyncio.run(wire.attack(port, number, seed=20))
    print(wire.told(found))
    assert not [result for result in found if result.status >= 500], wire.told(found)
    assert max(result.seconds for result in found) < 30, wire.told(found)  # a loaded machine; alone it is less than ten
    assert b" 200 " in said(port, b"GET /health/live HTTP/1.1\r\nHost: a\r\n" + CLOSE)


def test_a_refused_large_body_does_not_cost_the_answer(port: int) -> None:
    """A caller that sends a body over the limit reads 413 rather than a reset connection."""
    token = json.loads(_post(port, "/v1/visitors", b"", {})[1])["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    large = b" " * 200_000  # the sockets' buffers take it whole, so a slow machine doesn't run out of the drain's time
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("PUT", "/v1/tools/some-tool/vote", large, headers)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["type"] == "/problems/body-too-large"


def _post(port: int, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_caller_that_hangs_up_leaves_no_trace(api: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    """A body that breaks off is no error of ours: nothing is logged, and the next caller is served."""
    port, process = api
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(_vote_head(port, 100) + b'{"choice"')
            assert wait_for(lambda: wire.is_read(connection))
    assert _post(port, "/v1/visitors", b"", {})[0] == 201
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert b'"level": "error"' not in errors, errors
    assert b"Traceback" not in errors, errors


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_finished(api: tuple[int, "subprocess.Popen[bytes]"], name: signal.Signals) -> None:
    """A signal ends the process with 0, after the answers it owes and within its five seconds."""
    port, process = api
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(_vote_head(port, 17))
        assert wait_for(lambda: wire.is_read(connection))
        process.send_signal(name)
        time.sleep(0.7)
        assert process.poll() is None
        connection.sendall(b'{"choice":"ship"}')
        assert connection.recv(65536).splitlines()[0] == b"HTTP/1.1 404 Not Found"
    assert process.wait(PATIENCE) == 0
    assert not _answers(port)


def test_the_end_does_not_wait_for_ever(api: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    """A caller that never finishes its request holds the end up for five seconds, no longer."""
    port, process = api
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(_vote_head(port, 17))
        assert wait_for(lambda: wire.is_read(connection))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_streams_end_when_the_process_stops_and_do_not_hold_it_up(
    database: str, api: tuple[int, "subprocess.Popen[bytes]"]
) -> None:
    """A process that is told to stop ends its streams cleanly, and ends itself."""
    port, process = api
    asyncio.run(_list_tool(database, "streamed"))
    with streaming(f"http://127.0.0.1:{port}", "streamed") as stream:
        stream.next()
        process.send_signal(signal.SIGTERM)
        assert stream.ends()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"cut off" not in errors, errors


def test_a_follower_of_the_log_is_let_go_when_the_process_stops(api: tuple[int, "subprocess.Popen[bytes]"]) -> None:
    """Its stream ends cleanly, by the last chunk, and the process with it."""
    port, process = api
    headers = {"Authorization": f"Bearer {OPERATOR}", "Accept": "application/x-ndjson"}
    with calling.stream("GET", f"http://127.0.0.1:{port}/v1/ops/events", headers=headers, timeout=PATIENCE) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"\n"
        process.send_signal(signal.SIGTERM)
        lines = b"".join(pieces).splitlines()
        assert all(json.loads(line)["position"] for line in lines if line)
    assert process.wait(PATIENCE) == 0


async def _list_tool(dsn: str, slug: str) -> None:
    async with patient(dsn) as committer:
        await add_tools(committer, slug)
    await catch_up_all(dsn)


def _vote_head(port: int, length: int) -> bytes:
    token = json.loads(_post(port, "/v1/visitors", b"", {})[1])["token"]
    lines = [
        "PUT /v1/tools/no-such-tool/vote HTTP/1.1",
        "Host: site.test",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def test_the_process_outlives_absent_servers() -> None:
    """With neither PostgreSQL nor Valkey in reach the process starts, serves what it can, and stops as asked."""
    with running("postgresql://nobody@/none?host=/nonexistent", "unix:///nonexistent/valkey.sock") as (port, process):
        assert _post(port, "/v1/visitors", b"", {})[0] == 201
        answer = said(port, b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 503 " in answer.splitlines()[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
