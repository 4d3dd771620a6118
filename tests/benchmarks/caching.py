"""What a shared cache gains: a page through nginx against the API alone, and how soon a vote is seen through it."""

import asyncio
import http.client
import ssl
import time
from collections.abc import Sequence
from statistics import median

import httpx

from tests.benchmarks.http import Api, site
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres, new_database
from tests.support import nginx, servers

PAGES = (("a compare page", "/compare/tool-1-vs-tool-2"), ("a tool's page", "/tools/tool-1"), ("the home page", "/"))


def measure(seconds: float = 3, runs: int = 3, votes: int = 50) -> list[Row]:
    """Measure every row about the cache."""
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(new_database(server, "caching"))
        with site(dsn, valkey, server.folder) as api, nginx.before(server.folder, api.port, nginx.UNHURRIED) as port:
            front = Api(port, api.process, server.folder, scheme="https")
            rows = [_ratio(api, front, name, path, seconds, runs) for name, path in PAGES]
            return [*rows, *_effects(api, port, votes)]


def _ratio(api: Api, front: Api, name: str, path: str, seconds: float, runs: int) -> Row:
    packed = "Accept-Encoding: gzip"
    ratio, detail = pairs(
        lambda: front.wrk(seconds, path, header=packed)[0], lambda: api.wrk(seconds, path, header=packed)[0], runs
    )
    return Row(f"{name} through nginx's cache, over TLS, 64 connections, against the API alone", 10, ratio, detail)


def _effects(api: Api, port: int, votes: int) -> Sequence[Row]:
    """Vote at odd moments, and ask for the page all the time, or once, two seconds later."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())  # noqa: S323
    delays = []
    for number in range(1, votes + 1):
        _shown(connection, "tool-3")
        time.sleep(number * 0.617 % 1)
        began = _vote(api, "tool-3")
        while f"{number} ship / 0 skip" not in _shown(connection, "tool-3"):
            time.sleep(0.01)
        delays.append(time.perf_counter() - began)
    late = 0
    for number in range(1, 11):
        _shown(connection, "tool-4")
        time.sleep(number * 0.097)
        _vote(api, "tool-4")
        time.sleep(2)
        late += f"{number} ship / 0 skip" not in _shown(connection, "tool-4")
    detail = f"{votes} votes; median {median(delays):.2f} s"
    return [
        Row("a vote's effect on a page through nginx's cache, worst", 2, max(delays), detail, "s", at_least=False),
        Row("pages that don't show a vote two seconds later, asked for once", 0, late, "of 10", "", at_least=False),
    ]


def _shown(connection: http.client.HTTPSConnection, tool: str) -> str:
    connection.request("GET", f"/tools/{tool}")
    return connection.getresponse().read().decode()


def _vote(api: Api, tool: str) -> float:
    """Vote as a new visitor; give when the vote was answered."""
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}") as client:
        token = client.post("/v1/visitors").json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        client.put(f"/v1/tools/{tool}/vote", json={"choice": "ship"}, headers=headers).raise_for_status()
    return time.perf_counter()
