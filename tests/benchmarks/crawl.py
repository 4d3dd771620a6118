"""What crawlers cost a site of 100,000 tools: sitemap, facts, feed, an address that stays true, and readers beside them."""

import asyncio
import http.client
import random
import re
import time
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from events.ballots import VoteCast
from events.catalog import PanelReviewPublished, ToolAdded
from events.log import ids
from events.log.event import Event
from tests.benchmarks.http import Api, site
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres, new_database, new_id, record
from tests.support import servers
from tests.support.runners import catch_up_all

TOOLS = 100_000
NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
VOTERS = 4_000
EACH = 5
"""Tools that a voter votes on."""


def measure(runs: int = 30) -> list[Row]:
    """Measure every row about crawlers."""
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(_world(server))
        with site(dsn, valkey, server.folder) as api:
            return [*_parts(api, runs), *_readers(api)]


async def _world(server: servers.Postgres) -> str:
    """Make a site whose tools are reviewed, and some of them voted on."""
    dsn = await new_database(server, "crawl", 0)
    chance, tools = random.Random(5), [new_id() for _ in range(TOOLS)]
    events: list[Event] = [
        ToolAdded(
            tool=tool, slug=f"tool-{n}", name=f"Tool {n}", tagline="Does it", description="A tool. " * 50,
            category=f"Category {n % 10}", pricing_tier="free", pricing_label="Free", best_for="Measuring",
        )
        for n, tool in enumerate(tools)
    ]  # fmt: skip
    events += [PanelReviewPublished(tool=tool, persona="Builder", verdict="ship", take="Good.") for tool in tools]
    for voter in [new_id() for _ in range(VOTERS)]:
        events += [VoteCast(voter=voter, tool=tool, choice="ship") for tool in chance.sample(tools[:500], EACH)]
    await record(dsn, [(NOW, _stream(event), event) for event in events])
    await catch_up_all(dsn)
    return dsn


def _stream(event: Any) -> UUID:
    return ids.stream_beside(event.voter, "ballot", event.tool) if isinstance(event, VoteCast) else ids.stream_of(event.tool)


def _parts(api: Api, runs: int) -> list[Row]:
    part = re.findall(r"(/sitemap/tools-[0-9]+\.xml)", _read(api, "/sitemap.xml")[1])[4]
    position = re.search(r'"position":([0-9]+)', _read(api, "/v1/tools/tool-7")[1])
    assert position is not None
    rows = []
    for name, path, goal in (
        ("the sitemap's index", "/sitemap.xml", 100),
        ("a part of the sitemap, 10,000 tools", part, 100),
        ("the part of all other pages", "/sitemap/pages.xml", 100),
        ("100 tools' facts", "/tools/facts", 100),
        ("the feed of verdicts", "/tools.xml", 20),
        ("a tool as of a position", f"/v1/tools/tool-7?position={int(position[1]) - 1}", 20),
    ):  # fmt: skip
        times = [_read(api, path)[0] for _ in range(runs)]
        detail = f"median of {runs}; the slowest {max(times):.0f} ms"
        rows.append(Row(f"{name}, of {TOOLS:,} tools", goal, median(times), detail, "ms", at_least=False))
    return rows


def _readers(api: Api) -> list[Row]:
    """Read one page over and over, beside nobody and beside a crawler that walks through all facts and the sitemap."""
    rows = []
    for name, crawled in (("beside nobody", 0), ("beside a crawler", 200)):
        times = asyncio.run(_beside(api, crawled))
        detail = f"p50 {median(times):.1f} ms of {len(times)}"
        rows.append(Row(f"a tool's card {name}, p99", 20, quantiles(times, n=100)[98], detail, "ms", at_least=False))
    return rows


async def _beside(api: Api, crawled: int) -> list[float]:
    crawler = asyncio.create_task(asyncio.to_thread(_crawl, api, crawled))
    times = await asyncio.to_thread(lambda: [_read(api, "/v1/tools/tool-3")[0] for _ in range(600)])
    await crawler
    return times


def _crawl(api: Api, pages: int) -> None:
    path = "/tools/facts"
    for _ in range(pages):
        _, text = _read(api, path)
        following = re.search(r'"next":"([^"]+)"', text)
        path = f"/tools/facts?cursor={following[1]}" if following else "/tools/facts"


def _read(api: Api, path: str) -> tuple[float, str]:
    connection = http.client.HTTPConnection("127.0.0.1", api.port)
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    took = 1000 * (time.perf_counter() - began)
    connection.close()
    assert answer.status == 200, (path, answer.status, text[:200])
    return took, text
