"""What survives: SIGKILL and SIGSTOP of API processes, projectors and PostgreSQL at random moments, under load.

BALLOTPRESS_KILL_ROUNDS says how many faults are made (default 4).
"""

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
import msgspec
import pytest

from events.registry import REGISTRY
from projections.registry import PROJECTIONS
from services.migrate import migrate
from services.status.views import read_views
from services.web.http.auth import VisitorTokens
from tests.oracle.compare import differences
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.http import wait_until_ready
from tests.support.log import add_tools, patient
from tests.support.processes import PATIENCE, Fleet, Process, free_port
from tests.support.runners import until
from tests.support.settings import SECRET_KEY, UNLIMITED, environ

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "4"))
TOOLS = 20


class Cluster(Fleet):
    """A PostgreSQL, two API processes and two projectors; what they say goes to a folder that pytest keeps for a while."""

    def __init__(self, folder: Path, kept: Path, valkey_url: str) -> None:
        self.dsn = servers.Postgres(folder).dsn("site")
        self.ports = [free_port(), free_port()]
        starts = {
            "postgres": lambda: servers.restart_postgres(folder),
            "projector0": self._projector,
            "projector1": self._projector,
            "api0": lambda: self._api(self.ports[0]),
            "api1": lambda: self._api(self.ports[1]),
        }
        super().__init__(kept, environ(self.dsn, valkey_url, **UNLIMITED), starts)

    def _api(self, port: int) -> Process:
        return self.command("-P", "-m", "services.cli", "api", "--port", str(port))

    def _projector(self) -> Process:
        return self.command("-P", "-m", "services.cli", "projector")

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


@pytest.fixture(scope="module")
def fleet(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with twenty tools."""
    kept = tmp_path_factory.mktemp("survival")
    with servers.postgres_folder() as folder:
        cluster = Cluster(folder, kept, valkey_url)
        try:
            cluster.start("postgres")
            asyncio.run(populate(servers.Postgres(folder).dsn(), cluster.dsn))
            yield cluster
        finally:
            cluster.end()
            shutil.copy(folder / "log", kept / "postgres.log")


async def populate(server: str, dsn: str) -> None:
    """Make the cluster's database, with its tools."""
    await servers.execute(server, "create database site")
    await migrate(dsn)
    async with patient(dsn) as committer:
        await add_tools(committer, *(f"tool-{n}" for n in range(TOOLS)))


@pytest.fixture
async def cluster(fleet: Cluster) -> Cluster:
    """The cluster, all of it running, whatever an earlier test did to it."""
    fleet.start()
    await asyncio.to_thread(fleet.ready)
    return fleet


EVERY_VOTE = "select position, type, data->>'voter' as voter, data->>'choice' as choice from log.events order by position"


class Acknowledged(msgspec.Struct, frozen=True):
    """A vote that was answered 200."""

    voter: str
    slug: str
    choice: str
    position: int


class Load:
    """Voters who each cast one vote with a key, retried at any of these API processes until it is answered."""

    def __init__(self, cluster: Cluster, apis: tuple[int, ...]) -> None:
        self.cluster = cluster
        self.apis = apis
        self.acknowledged: list[Acknowledged] = []
        self.unexpected: list[str] = []
        self.running = True

    async def caller(self, number: int) -> None:
        """Vote until told to stop; the vote under way is carried through."""
        tokens, rng = VisitorTokens((SECRET_KEY,)), random.Random(number)
        async with httpx.AsyncClient(timeout=5) as client:
            while self.running:
                voter = new_id()
                slug, choice = f"tool-{rng.randrange(TOOLS)}", rng.choice(["ship", "skip"])
                headers = {"Authorization": f"Bearer {tokens.issue(voter)}", "Idempotency-Key": voter}
                await self.insist(client, rng, headers, voter, slug, choice)
                await asyncio.sleep(0.06)  # what was killed needs the machine, too

    async def insist(self, client: httpx.AsyncClient, rng: random.Random, headers: dict[str, str], *vote: str) -> None:
        """Send one vote until it is answered 200."""
        voter, slug, choice = vote
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            which = rng.choice(self.apis)
            url = f"http://127.0.0.1:{self.cluster.ports[which]}/v1/tools/{slug}/vote"
            try:
                answer = await client.put(url, json={"choice": choice}, headers=headers)
            except (httpx.HTTPError, AttributeError):  # the second from anyio, when the API dies as the connection is made
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.acknowledged.append(Acknowledged(voter, slug, choice, answer.json()["position"]))
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
    load = Load(cluster, apis)
    tasks = [asyncio.create_task(load.caller(n)) for n in range(callers)]
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
    events = await connection.fetch(EVERY_VOTE)
    assert [e["position"] for e in events] == list(range(1, len(events) + 1))
    cast = [e for e in events if e["type"] == "VoteCast"]
    assert len({e["voter"] for e in cast}) == len(cast), "a retried vote was appended twice"
    logged = {e["position"]: e for e in cast}
    assert load.unexpected == [], f"what was said is in {cluster.folder}"
    for vote in load.acknowledged:
        assert (logged[vote.position]["voter"], logged[vote.position]["choice"]) == (vote.voter, vote.choice)
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
    await connection.close()


@pytest.mark.timeout(600 + 60 * ROUNDS)
async def test_votes_survive_kills_and_stops(cluster: Cluster) -> None:
    """After kills and freezes under load, acknowledged votes are in the log once, and every tally is a fold of it."""
    rng = random.Random(os.environ.get("BALLOTPRESS_SEED", "1"))
    async with load(cluster) as voting:
        for _ in range(ROUNDS):
            await asyncio.sleep(rng.uniform(0.3, 1.0))
            target = rng.choice(["api0", "api1", "projector0", "projector1", "postgres"])
            if target.startswith("api"):  # on a slow machine a start takes longer than the loop: one of them must serve
                await asyncio.to_thread(cluster.serves, 1 - int(target[-1]))
            if rng.random() < 0.3:
                with cluster.frozen(target):
                    await asyncio.sleep(rng.uniform(0.5, 3))
            else:
                await asyncio.to_thread(cluster.kill_and_start, target)
        await asyncio.to_thread(cluster.ready)
        await voting.acknowledges(50)
    await all_is_well(cluster, voting)


async def test_a_stopped_api_process_does_not_hold_the_others_up(cluster: Cluster) -> None:
    """While an API process stays frozen, at whatever moment it was, even inside its batch, the other's votes are answered."""
    async with load(cluster, apis=(0,)), load(cluster, callers=4, apis=(1,)) as voting:
        for _ in range(3):
            await asyncio.sleep(0.7)
            with cluster.frozen("api0"):
                await voting.acknowledges(20)
    await all_is_well(cluster, voting)


async def test_a_projector_takes_over(cluster: Cluster) -> None:
    """While the projector at work is dead, or frozen, the other shows new votes."""
    async with load(cluster, callers=4) as voting:
        for name in ("projector0", "projector1"):
            await shows_new_votes(cluster)
            cluster.kill(name)
            await shows_new_votes(cluster)
            cluster.start(name)
            await asyncio.sleep(1.5)
            with cluster.frozen(name):
                await shows_new_votes(cluster)
    await all_is_well(cluster, voting)


async def shows_new_votes(cluster: Cluster) -> None:
    """Wait until the cards have what is voted from now on."""
    connection = await asyncpg.connect(cluster.dsn)
    before = await connection.fetchval("select position from log.head")

    async def moved() -> bool:
        return bool(await connection.fetchval("select position > $1 from cards_4.checkpoint", before))

    await until(moved)
    await connection.close()
