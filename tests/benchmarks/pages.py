"""What the pages cost: their weight, their time on the server, and 2,000 viewers of the live stream beside the votes."""

import asyncio
import gzip
import http.client
import re
import resource
import time
from bisect import bisect_left
from statistics import median, quantiles

import httpx

from tests.benchmarks.http import Api, Voting, site, tokens
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres, new_database
from tests.support import servers

PAIR = "tool-1-vs-tool-2"


def measure(seconds: float = 5, runs: int = 3, viewers: int = 2000) -> list[Row]:
    """Measure every row about pages and the live stream."""
    _allow_files()
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(new_database(server, "pages"))
        tokens(server.folder, 20_000)
        with site(dsn, valkey, server.folder) as api:
            return [*_weight(api), *_times(api, runs), *asyncio.run(_live(api, viewers, seconds, runs))]


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _weight(api: Api) -> list[Row]:
    base = f"http://127.0.0.1:{api.port}"
    html = httpx.get(f"{base}/compare/{PAIR}").text
    parts = [f"/compare/{PAIR}", *re.findall(r'"(/static/[^"]+)"', html)]
    sizes = [_packed(base + part) for part in parts]
    detail = f"{len(parts)} requests: {', '.join(f'{size:,}' for size in sizes)} bytes"
    return [Row("a compare page, HTML + CSS + JS, gzip", 40, sum(sizes) / 1000, detail, "kB", at_least=False)]


def _packed(url: str) -> int:
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        body = b"".join(answer.iter_raw())
    gzip.decompress(body)
    return len(body)


def _times(api: Api, runs: int) -> list[Row]:
    """Time one connection's requests, page and JSON in turn; the goal is the larger of three times the JSON and 1 ms."""
    token = httpx.post(f"http://127.0.0.1:{api.port}/v1/visitors").json()["token"]
    own = {"Cookie": f"ballotpress_visitor={token}"}
    rows = []
    asked = "/v1/visitors/me/tools?tool=tool-1&tool=tool-2"
    for name, path, headers in (
        ("a compare page, warm", f"/compare/{PAIR}", {}),
        ("what its reader did with the two tools, from the log", asked, own),
    ):
        page, json = [], []
        for _ in range(runs):
            json.append(_milliseconds(api, f"/v1/comparisons/{PAIR}", {}))
            page.append(_milliseconds(api, path, headers))
        goal = max(3 * median(json), 1.0)
        detail = f"median of {runs} × 300 on one connection; the JSON {median(json):.2f} ms"
        rows.append(Row(name, goal, median(page), detail, "ms", at_least=False))
    return rows


def _milliseconds(api: Api, path: str, headers: dict[str, str]) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", api.port)
    times = []
    for _ in range(330):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept-Encoding": "gzip", **headers})
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - began)
        assert answer.status == 200
    connection.close()
    return 1000 * median(times[30:])


class _Viewer(asyncio.Protocol):
    """Watches one tool and notes when each event came."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._rest = b""
        self.came: list[tuple[int, float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(f"GET /v1/tallies/live?tool={self._tool} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.came += [(int(line[4:]), now) for line in lines if line.startswith(b"id: ")]


async def _live(api: Api, count: int, seconds: float, runs: int) -> list[Row]:
    before = api.resident_megabytes()
    watching = [await _watch(api, "tool-0") for _ in range(count)]
    await asyncio.sleep(1.5)
    assert all(viewer.came for viewer in watching)
    told = await _vote_each_second(api, max(5, int(seconds * runs / 2)))
    memory = (api.resident_megabytes() - before) * 1000 / count
    delays = sorted(delay for viewer in watching for delay in _delays(viewer, told))
    p99 = quantiles(delays, n=100)[98]
    detail = f"{len(delays):,} events; median {median(delays):.2f} s, highest {delays[-1]:.2f} s"
    rows = [
        Row(f"{count:,} viewers at one event a second, p99 from vote to event", 1.5, p99, detail, "s", at_least=False),
        Row("memory of a viewer", 50, memory, f"{before:.0f} MB before", "kB", at_least=False),
    ]
    # A, B, A, B: the viewers watch, and hang up for the votes without them.
    vote = Voting(api, seconds, "/v1/tools/tool-%d/vote")
    with_them, without = [], []
    for _ in range(runs):
        with_them.append(await asyncio.to_thread(vote))
        for viewer in watching:
            viewer.transport.close()
        await asyncio.sleep(1)
        without.append(await asyncio.to_thread(vote))
        watching = [await _watch(api, "tool-0") for _ in range(count)]
    for viewer in watching:
        viewer.transport.close()
    ratios = [a / b for a, b in zip(with_them, without, strict=True)]
    spread = f"{median(with_them):,.0f}/s against {median(without):,.0f}/s; {min(ratios):.2f}–{max(ratios):.2f} in {runs} pairs"
    return [*rows, Row(f"votes over HTTP beside {count:,} viewers, against none", 0.7, median(ratios), spread)]


async def _watch(api: Api, tool: str) -> _Viewer:
    _, viewer = await asyncio.get_running_loop().create_connection(lambda: _Viewer(tool), "127.0.0.1", api.port)
    return viewer


async def _vote_each_second(api: Api, count: int) -> list[tuple[int, float]]:
    """Vote once a second, each time as somebody else; give the positions and when each vote was sent."""
    told = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}") as client:
        for _ in range(count):
            client.cookies.clear()
            token = (await client.post("/v1/visitors")).json()["token"]
            sent = time.perf_counter()
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.put("/v1/tools/tool-0/vote", json={"choice": "ship"}, headers=headers)
            told.append((answer.json()["position"], sent))
            await asyncio.sleep(max(0.0, 1 - (time.perf_counter() - sent)))
        await asyncio.sleep(2)
    return told


def _delays(viewer: _Viewer, told: list[tuple[int, float]]) -> list[float]:
    """Give how long after each vote the first event came that counts it."""
    ids = [id_ for id_, _ in viewer.came]
    return [viewer.came[bisect_left(ids, position)][1] - sent for position, sent in told]
