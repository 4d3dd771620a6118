"""A site of processes to kill and freeze, alone or behind a streaming replica; the votes cast meanwhile, and their count."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import httpx
import msgspec

from events.registry import REGISTRY
from projections.registry import PROJECTIONS
from services.migrate import migrate
from services.status.views import read_views
from services.web.http.auth import VisitorTokens
from tests.oracle.compare import differences
from tests.support import calling, servers, standbys
from tests.support.catalogs import new_id
from tests.support.http import wait_until_ready
from tests.support.log import add_tools, patient
from tests.support.parts import make_small
from tests.support.processes import PATIENCE, Fleet, free_port, wait_for
from tests.support.runners import until
from tests.support.settings import SECRET_KEY, UNLIMITED, environ
from tests.support.standbys import Pair
from tests.support.stem import forked

BOTH_WAYS = standbys.both_ways("place")
TOOLS = 20
PART = 40
"""Positions in a part: a kill finds parts being made."""
EVERY_VOTE = "select position, type, data->>'voter' as voter, data->>'choice' as choice from log.events order by position"


class Cluster(Fleet):
    """A PostgreSQL, with a standby or without; two API processes and two projectors. What they say goes to a folder."""

    def __init__(self, pair: Pair, kept: Path, valkey_url: str, *, replicated: bool, **more: str) -> None:
        self.pair = pair
        self.dsn = pair.dsn("site") if replicated else pair.one(0, "site")
        self.ports = [free_port(), free_port()]
        numbers = (0, 1) if replicated else (0,)
        starts = {
            **{f"server{n}": lambda n=n: pair.start(n) for n in numbers},
            "projector0": lambda: self.ours("projector"),
            "projector1": lambda: self.ours("projector"),
            "api0": lambda: self.ours("api", "--port", str(self.ports[0])),
            "api1": lambda: self.ours("api", "--port", str(self.ports[1])),
        }
        super().__init__(kept, environ(self.dsn, valkey_url, **UNLIMITED) | more, starts)

    def work(self) -> None:
        """Start a worker, as one more process."""
        self.starts = {**self.starts, "worker": lambda: self.ours("worker")}
        self.start("worker")

    def kill_and_start(self, name: str) -> None:
        """End a process without warning, and start it anew."""
        self.kill(name)
        self.start(name)

    def ready(self) -> None:
        """Wait until both API processes serve."""
        for number in range(len(self.ports)):
            self.serves(number)

    def serves(self, number: int) -> None:
        """Wait until an API process serves."""
        wait_until_ready(f"http://127.0.0.1:{self.ports[number]}", self.said)


async def populate(pair: Pair, *, replicated: bool) -> None:
    """Make the site's database, with its tools, and parts that votes soon fill; behind a replica commits wait for it."""
    dsn = pair.one(0, "site")
    await servers.execute(pair.one(0), "create database site")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await make_small(connection, PART)
    await connection.close()
    async with patient(dsn) as committer:
        await add_tools(committer, *(f"tool-{n}" for n in range(TOOLS)))
    if replicated:
        await asyncio.to_thread(pair.clone)
        await pair.wait_for_standby(synchronous=True)


class Place:
    """A server on which tests make their databases: alone, or followed by a synchronous replica."""

    def __init__(self, server: servers.Postgres, pair: Pair | None = None, valkey_url: str = "", output: Path = Path()) -> None:
        self.server = server
        self._pair, self._valkey_url, self._output = pair, valkey_url, output
        self.ports: Sequence[int] = ()
        """Where the API processes of the database serve; none that is alone has any."""

    @property
    def is_replicated(self) -> bool:
        """Whether a replica follows."""
        return self._pair is not None

    async def filled(self, name: str, fill: Callable[[str], Awaitable[None]], base: str = servers.TEMPLATE) -> str:
        """Make a template of another one and fill it, unless that was done here before; return its name."""
        if not await standbys.value(self.server.dsn(), f"select true from pg_database where datname = '{name}'"):  # noqa: S608
            async with servers.database(self.server, base) as dsn:
                await fill(dsn)
                copy = f"create database {name} template {servers.name_of(dsn)} strategy file_copy"
                await servers.execute(self.server.dsn(), copy)
        return name

    @asynccontextmanager
    async def database(self, template: str = servers.TEMPLATE) -> AsyncIterator[str]:
        """Give a copy of a template for a while; one that is replicated is served by two API processes meanwhile."""
        async with servers.database(self.server, template) as dsn:
            if self._pair is None:
                yield dsn
                return
            dsn = self._pair.dsn(servers.name_of(dsn))
            async with two_apis(dsn, self._valkey_url, self._output) as self.ports:
                yield dsn


@contextmanager
def followed() -> Iterator[Pair]:
    """Run a server for a while, with a template; each commit waits for its replica."""

    async def prepare(pair: Pair) -> None:
        await servers.make_template(servers.Postgres(pair.folders[0]))
        await asyncio.to_thread(pair.clone)
        await pair.wait_for_standby(synchronous=True)

    with standbys.pair(fsync="off", full_page_writes="off") as pair:
        asyncio.run(prepare(pair))
        yield pair


@asynccontextmanager
async def two_apis(dsn: str, valkey_url: str, output: Path, **more: str) -> AsyncIterator[list[int]]:
    """Serve a database by two API processes for a while, which live at the end as well; give their ports."""
    given = environ(dsn, valkey_url, **UNLIMITED) | more
    ports = [free_port(), free_port()]
    with (
        forked("api", "--port", str(ports[0]), environ=given, output=output),
        forked("api", "--port", str(ports[1]), environ=given, output=output),
    ):
        await asyncio.to_thread(both_live, ports)
        yield ports
        await asyncio.to_thread(both_live, ports)


def both_live(ports: Sequence[int]) -> None:
    """Wait until API processes answer; without a projector they don't get ready."""

    def answers(port: int) -> bool:
        try:
            return calling.get(f"http://127.0.0.1:{port}/health/live", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    assert wait_for(lambda: all(map(answers, ports)))


class Acknowledged(msgspec.Struct, frozen=True):
    """A vote that was answered 200."""

    voter: str
    slug: str
    choice: str
    position: int
    at: float


class Load:
    """Voters who each cast one vote with a key, retried at any of these API processes until it is answered."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = ports
        self.acknowledged: list[Acknowledged] = []
        self.unexpected: list[str] = []
        self.running = True

    async def caller(self, number: int) -> None:
        """Vote until told to stop; the vote under way is carried through."""
        tokens, rng = VisitorTokens((SECRET_KEY,)), random.Random(number)
        async with calling.AsyncClient(timeout=5) as client:
            while self.running:
                voter = new_id()
                slug, choice = f"tool-{rng.randrange(TOOLS)}", rng.choice(["ship", "skip"])
                headers = {"Authorization": f"Bearer {tokens.issue(voter)}", "Idempotency-Key": voter}
                await self.insist(client, rng, headers, voter, slug, choice)
                await asyncio.sleep(0.15)  # what was killed needs the machine, too

    async def insist(self, client: httpx.AsyncClient, rng: random.Random, headers: dict[str, str], *vote: str) -> None:
        """Send one vote until it is answered 200."""
        voter, slug, choice = vote
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            url = f"http://127.0.0.1:{rng.choice(self.ports)}/v1/tools/{slug}/vote"
            try:
                answer = await client.put(url, json={"choice": choice}, headers=headers)
            except (httpx.HTTPError, AttributeError):  # the second from anyio, when the API dies as the connection is made
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.acknowledged.append(Acknowledged(voter, slug, choice, answer.json()["position"], monotonic()))
                return
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.unexpected.append(f"{answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(0.05)
        self.unexpected.append("a vote was never answered")

    async def acknowledges(self, more: int) -> None:
        """Wait until so many more votes were answered."""
        enough = len(self.acknowledged) + more

        async def acknowledged() -> bool:
            return len(self.acknowledged) >= enough

        await until(acknowledged)


@asynccontextmanager
async def load(cluster: Cluster, callers: int = 6, apis: tuple[int, ...] = (0, 1)) -> AsyncIterator[Load]:
    """Keep voting meanwhile."""
    async with voting([cluster.ports[number] for number in apis], callers) as load:
        yield load


@asynccontextmanager
async def voting(ports: Sequence[int], callers: int = 3) -> AsyncIterator[Load]:
    """Keep voting at these API processes meanwhile; where there is none, nobody votes."""
    load = Load(ports)
    tasks = [asyncio.create_task(load.caller(n)) for n in range(callers if ports else 0)]
    try:
        yield load
    finally:
        load.running = False
        await asyncio.gather(*tasks)


async def all_is_well(cluster: Cluster, load: Load) -> None:
    """Assert that every acknowledged vote is in the log once, positions are dense, and every view equals a fold of the log."""
    connection = await asyncpg.connect(cluster.dsn)

    async def caught_up() -> bool:
        return all(state.lag == 0 for state in await read_views(connection))

    await until(caught_up)
    await all_are_logged(connection, load)
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
    await connection.close()


async def all_are_logged(connection: "asyncpg.Connection[Any]", load: Load, since: int = 0) -> None:
    """Assert that positions are dense, and that every acknowledged vote is in the log once, after a position."""
    events = await connection.fetch(EVERY_VOTE)
    assert [e["position"] for e in events] == list(range(1, len(events) + 1))
    cast = [e for e in events[since:] if e["type"] == "VoteCast"]
    assert len({e["voter"] for e in cast}) == len(cast), "a retried vote was appended twice"
    logged = {e["position"]: e for e in cast}
    assert load.unexpected == []
    for vote in load.acknowledged:
        assert (logged[vote.position]["voter"], logged[vote.position]["choice"]) == (vote.voter, vote.choice)
