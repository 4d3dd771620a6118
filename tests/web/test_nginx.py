"""The nginx configuration that we ship, run by Debian's nginx before a real API."""

import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import nginx
from tests.support.http import Site
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.settings import environ
from tests.support.stem import forked

pytestmark = pytest.mark.server

NEW_VISITORS = 3


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The TLS port of nginx before an API that trusts it; the API's PostgreSQL and Valkey are away, which it outlives."""
    nginx.program()
    api = free_port()
    more = {"BALLOTPRESS_TRUSTED_PROXIES": "127.0.0.1", "BALLOTPRESS_NEW_VISITORS_PER_HOUR": str(NEW_VISITORS)}
    environment = environ("postgresql://nobody@/none?host=/nonexistent", "unix:///nonexistent/valkey.sock", **more)
    with forked("api", "--port", str(api), environ=environment):
        assert wait_for(lambda: _answers(api))
        with nginx.before(tmp_path_factory.mktemp("nginx"), api) as made:
            yield made


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def connected(port: int) -> ssl.SSLSocket:
    """Connect by TLS; the certificate is the test's own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE), server_hostname="ballotpress.example")


def said(port: int, raw: bytes) -> bytes:
    """Send bytes as they are, and give all that comes back."""
    with connected(port) as connection:
        connection.sendall(raw)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_nginx_takes_the_configuration_as_shipped(tmp_path: Path) -> None:
    """`nginx -t` finds nothing wrong, and warns of nothing."""
    main = nginx.write(tmp_path, 1, 2, 3)
    command = (nginx.program(), "-t", "-q", "-e", tmp_path / "error", "-c", main)
    tested = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (tested.returncode, tested.stderr) == (0, "")


def test_nobody_chooses_the_network_they_count_as(port: int) -> None:
    """An X-Forwarded-For of the caller's own is replaced, so its network's limit holds whatever it writes."""
    seen = []
    for number in range(NEW_VISITORS + 2):
        head = b"POST /v1/visitors HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.%d.1\r\n" % number
        seen.append(said(port, head + b"Content-Length: 0\r\nConnection: close\r\n\r\n").split()[1])
    assert seen == [b"201"] * NEW_VISITORS + [b"429"] * 2


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/visitors HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b";" * 40_000 + b"\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_in_two_ways_goes_no_further(port: int, raw: bytes) -> None:
    """Both a length and chunks, no Host, two Hosts, a huge cookie: 400."""
    assert said(port, raw).split()[1] == b"400"


def test_what_is_for_operators_is_not_served_outside(port: int) -> None:
    """Health, metrics and the outbox are asked for at the API itself."""
    for path in (b"/health/live", b"/health/ready", b"/metrics", b"/outbox", b"/outbox/a"):
        answer = said(port, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] == b"404" and b"nginx" in answer, answer


def test_readers_see_what_was_there_last_while_the_api_is_away(tmp_path: Path) -> None:
    """A page that was asked for before is shown when the API is gone; one that was not is a 502, and nothing is made up."""
    api = free_port()
    environment = environ("postgresql://nobody@/none?host=/nonexistent", "unix:///nonexistent/valkey.sock")
    with forked("api", "--port", str(api), environ=environment) as process, nginx.before(tmp_path, api) as port:
        assert wait_for(lambda: _answers(api))
        asked = b"GET /your-data HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        first = said(port, asked)
        assert first.split()[1] == b"200"
        process.kill()
        assert wait_for(lambda: not _answers(api))
        time.sleep(2.5)  # what was kept for a moment is kept no longer
        last = said(port, asked)
        assert (last.split()[1], last.partition(b"\r\n\r\n")[2]) == (b"200", first.partition(b"\r\n\r\n")[2])
        assert b"X-Cache-Status: STALE" in last
        assert said(port, asked.replace(b"your-data", b"settled")).split()[1] == b"502"


def test_a_live_event_is_not_held_back(site: Site, tool: str, tmp_path: Path) -> None:
    """Through nginx a stream begins at once and tells a vote while it stays open."""
    with nginx.before(tmp_path, int(site.client.base_url.port or 0)) as port:
        context = ssl._create_unverified_context()  # noqa: S323 - the certificate is the test's own
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        connection.request("GET", f"/v1/tallies/live?tool={tool}")
        stream = connection.getresponse()
        assert stream.status == 200
        site.visitor().vote(tool, "ship")
        tallies = (json.loads(line[6:]) for line in stream if line.startswith(b"data: "))
        assert next(tally for tally in tallies if tally["ship"] == 1)["tool"] == tool
        connection.close()
