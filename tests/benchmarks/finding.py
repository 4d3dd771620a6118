"""What readers wait for on a site of 100,000 tools: a search, however its text is made, and every list and page of lists."""

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from statistics import median, quantiles
from urllib.parse import quote
from uuid import UUID

import asyncpg

from events.ballots import VoteCast
from events.catalog import ComparisonAnnounced, PanelReviewPublished, ToolAdded
from events.log import ids
from events.log.event import Event
from events.registry import REGISTRY
from projections.engine.folding import WINDOW
from projections.engine.projection import Projection, connect_patiently, drop
from projections.engine.runner import advance
from projections.registry import PROJECTIONS
from projections.search import search
from services.web.category_paths import category_path
from tests.benchmarks.http import Api, site
from tests.benchmarks.table import Row
from tests.benchmarks.vocabulary import HOSTILE, Vocabulary
from tests.benchmarks.world import durable_postgres, new_database, new_id, record
from tests.support import servers

TOOLS = 100_000
VOTES = 300_000
DAYS = 30
PAIRS = 2_000
REVIEWED = 20_000
FIRST_PAGE = 21
WARM = 20
RUNS = 500
GOAL = 20
SORTS = ("name", "community", "settled", "panel", "trending")

Made = tuple[datetime, UUID, Event]


def measure(tools: int = TOOLS, votes: int = VOTES) -> list[Row]:
    """Measure every row about finding tools."""
    chance = Random(3)
    vocabulary = Vocabulary(chance)
    catalog = vocabulary.tools(tools)
    texts = [*dict.fromkeys(vocabulary.texts(catalog))]
    chance.shuffle(texts)
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(_world(server, _history(catalog, votes, chance)))
        rows = [*asyncio.run(_searches(dsn, "texts", texts)), *asyncio.run(_searches(dsn, "hostile texts", HOSTILE))]
        with site(dsn, valkey, server.folder) as api:
            return [*rows, *_lists(api, texts, vocabulary.words)]


def _history(catalog: Sequence[ToolAdded], votes: int, chance: Random) -> list[Made]:
    """Return tools, reviews and pairs of a month ago, and the votes since: most of them on few tools, each with its lean."""
    tools = [one.tool for one in catalog]
    lean = {tool: chance.random() for tool in tools}
    few = [*accumulate((rank + 5) ** -0.8 for rank in range(len(tools)))]
    begin = datetime.now(UTC) - timedelta(days=DAYS, hours=1)
    events: list[Event] = [*catalog]
    events += [PanelReviewPublished(tool=tool, persona="Builder", verdict="ship", take="Good.") for tool in tools[:REVIEWED]]
    events += [ComparisonAnnounced(left=left, right=right) for left, right in pairwise(tools[: PAIRS + 1])]
    made: list[Made] = [(begin, ids.stream_of(getattr(event, "tool", None) or new_id()), event) for event in events]
    for number, tool in enumerate(chance.choices(tools, cum_weights=few, k=votes)):
        vote = VoteCast(voter=new_id(), tool=tool, choice="ship" if chance.random() < lean[tool] else "skip")
        at = begin + timedelta(days=DAYS) * (number / votes)
        made.append((at, ids.stream_beside(vote.voter, "ballot", tool), vote))
    return made


async def _world(server: servers.Postgres, history: Sequence[Made]) -> str:
    """Make a site of this history, its views as a rebuild makes them: in large windows, with the indexes at the end."""
    dsn = await new_database(server, "finding", 0)
    await record(dsn, history)
    await asyncio.gather(*(_build(dsn, projection) for projection in PROJECTIONS))
    connection = await asyncpg.connect(dsn)
    await connection.execute("vacuum analyze")
    await connection.execute("checkpoint")
    await connection.close()
    return dsn


async def _build(dsn: str, projection: Projection) -> None:
    connection = await connect_patiently(dsn, projection.schema)
    await drop(connection, projection.schema)
    await projection.create(connection, projection.schema, indexed=False)
    is_behind = True
    while is_behind:
        advanced = await advance(connection, projection, REGISTRY, WINDOW)
        is_behind = advanced.end != advanced.head
    await projection.make_indexes(connection)
    await connection.close()


async def _searches(dsn: str, name: str, texts: Sequence[str]) -> list[Row]:
    """Look for each text once: by the clock, and by the time that this process and its backend worked."""
    waited, worked = [], []
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        backend = Path(f"/proc/{await pool.fetchval('select pg_backend_pid()')}/schedstat")
        for text in HOSTILE:  # warm: each statement is planned, the tables are in memory
            await search(pool, text, None, FIRST_PAGE)
        for text in texts:
            began, work = time.perf_counter(), _work(backend)
            await search(pool, text, None, FIRST_PAGE)
            waited.append(1000 * (time.perf_counter() - began))
            worked.append(_work(backend) - work)
    which = f"search by {len(texts):,} {name}"
    return [_row(which, waited), _row(f"{which}, time of one core", worked)]


def _work(backend: Path) -> float:
    """Return the milliseconds that this process and a backend worked so far."""
    return 1000 * time.process_time() + int(backend.read_text().split()[0]) / 1e6


def _lists(api: Api, texts: Sequence[str], words: Sequence[str]) -> list[Row]:
    connection = http.client.HTTPConnection("127.0.0.1", api.port)
    categories = [one["name"] for one in json.loads(_read(connection, "/v1/categories"))["items"]]
    in_order = [f"{category_path(name)}?sort={sort}" for name in categories for sort in SORTS]
    deep = _deep(connection)
    pages: dict[str, Callable[[int], str]] = {
        "home": lambda _: "/",
        "tools in every order": lambda n: f"/tools?sort={SORTS[n % len(SORTS)]}",
        "tools, place 2,000 of the settled order": lambda _: deep,
        "categories": lambda _: "/categories",
        "categories' pages in every order": lambda n: in_order[n % len(in_order)],
        "leaderboard": lambda _: "/leaderboard",
        "leaderboards of categories": lambda n: f"/leaderboard?category={quote(categories[n % len(categories)])}",
        "leaderboard, JSON": lambda _: "/v1/leaderboard",
        "search page, empty": lambda _: "/search",
        "search page": lambda n: f"/search?q={quote(texts[n])}",
        "search page, the most common words": lambda n: f"/search?q={words[n % 25]}",
        "search, JSON": lambda n: f"/v1/search?q={quote(texts[RUNS + n])}",
        "picker, empty": lambda _: "/compare",
        "picker, one tool by slug": lambda n: f"/compare?left=tool-{n}",
        "picker, one side by a text": lambda n: f"/compare?left={quote(texts[n])}",
    }
    rows = []
    for name, path in pages.items():
        times = []
        for number in range(WARM + RUNS):
            began = time.perf_counter()
            _read(connection, path(number))
            times.append(1000 * (time.perf_counter() - began))
        rows.append(_row(f"{name}, over HTTP, warm", times[WARM:]))
    connection.close()
    return rows


def _deep(connection: http.client.HTTPConnection) -> str:
    cursor = ""
    for _ in range(20):
        cursor = json.loads(_read(connection, f"/v1/tools?sort=settled&limit=100{cursor}"))["next"]
        cursor = f"&cursor={cursor}"
    return f"/tools?sort=settled{cursor}"


def _read(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (path, answer.status, text[:200])
    return text


def _row(name: str, times: Sequence[float]) -> Row:
    detail = f"p50 {median(times):.1f} ms, the longest {max(times):.1f} ms of {len(times):,}"
    return Row(f"{name}, p99", GOAL, quantiles(times, n=100, method="inclusive")[98], detail, "ms", at_least=False)
