"""What survives: SIGKILL and SIGSTOP of API processes, projectors and PostgreSQL at random moments, under load.

BALLOTPRESS_KILL_ROUNDS says how many faults are made (default 6).
"""

import asyncio
import base64
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
import msgspec
import pytest

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.registry import PROJECTIONS
from services.migrate import migrate
from services.status.views import states
from services.web.http.auth import VisitorTokens
from tests.oracle.compare import differences
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.log import add_tools
from tests.support.processes import clean_environ, free_port

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "6"))
SECRET = "s" * 40
TOOLS = 20


class Site:
    """A PostgreSQL, a Valkey, two API processes and two projectors, each of which can be killed and started again."""

    def __init__(self, folder: Path, valkey: str) -> None:
        self.folder = folder
        self.server = servers.start_postgres(folder)
        self.ports = [free_port(), free_port()]
        self.environ = clean_environ(
            DATABASE_URL=self.server.dsn("site"),
            REDIS_URL=valkey,
            BALLOTPRESS_SECRET_KEYS=SECRET,
            BALLOTPRESS_VAULT_KEYS=base64.b64encode(bytes(32)).decode(),
            BALLOTPRESS_WRITES_PER_MINUTE="1000000",
            BALLOTPRESS_NETWORK_WRITES_PER_MINUTE="1000000",
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one of api0, api1, projector0, projector1."""
        words = ["api", "--port", str(self.ports[int(name[-1])])] if name.startswith("api") else ["projector"]
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "services.cli", *words], env=self.environ, stdout=output, stderr=output
            )

    def kill(self, name: str) -> None:
        """End a process without warning, and start it anew."""
        if name == "postgres":
            self.server.process.kill()
            self.server.process.wait()
            self.server = servers.start_postgres(self.folder)
        else:
            self.processes[name].kill()
            self.processes[name].wait()
            self.start(name)

    async def stop_for(self, name: str, seconds: float) -> None:
        """Freeze a process for a while."""
        process = self.server.process if name == "postgres" else self.processes[name]
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """End every process."""
        for process in [*self.processes.values(), self.server.process]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)

    async def ready(self, port: int) -> None:
        """Wait until an API process serves."""
        async with httpx.AsyncClient() as client:
            for _ in range(400):
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/health/ready", timeout=2)).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError("the API is not ready: " + (self.folder / "api0.log").read_text()[-2000:])


@pytest.fixture
async def site(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> AsyncIterator[Site]:
    """A running site with twenty tools."""
    with folder_of_postgres() as folder:
        site = Site(folder, valkey_url)
        try:
            connection = await asyncpg.connect(site.server.dsn())
            await connection.execute("create database site")
            await connection.close()
            await migrate(site.server.dsn("site"))
            async with Committer(site.server.dsn("site"), REGISTRY) as committer:
                await add_tools(committer, *(f"tool-{n}" for n in range(TOOLS)))
            for name in ("projector0", "projector1", "api0", "api1"):
                site.start(name)
            for port in site.ports:
                await site.ready(port)
            yield site
        finally:
            site.end()


@contextmanager
def folder_of_postgres() -> Iterator[Path]:
    """Give a short folder with a data directory, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    try:
        servers.init_postgres(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


EVERY_VOTE = "select position, type, data->>'voter' as voter, data->>'choice' as choice from log.events order by position"


class Acknowledged(msgspec.Struct, frozen=True):
    """A vote that was answered 200."""

    voter: str
    slug: str
    choice: str
    position: int


class Load:
    """Voters who each cast one vote with a key, retried at any of these API processes until it is answered."""

    def __init__(self, site: Site, apis: tuple[int, ...]) -> None:
        self.site = site
        self.apis = apis
        self.acknowledged: list[Acknowledged] = []
        self.times: list[tuple[float, int]] = []
        self.unexpected: list[str] = []
        self.running = True

    async def caller(self, number: int) -> None:
        """Vote until told to stop; the vote under way is carried through."""
        tokens, rng = VisitorTokens((SECRET,)), random.Random(number)
        async with httpx.AsyncClient(timeout=5) as client:
            while self.running:
                voter = new_id()
                slug, choice = f"tool-{rng.randrange(TOOLS)}", rng.choice(["ship", "skip"])
                headers = {"Authorization": f"Bearer {tokens.issue(voter)}", "Idempotency-Key": voter}
                await self.insist(client, rng, headers, voter, slug, choice)

    async def insist(self, client: httpx.AsyncClient, rng: random.Random, headers: dict[str, str], *vote: str) -> None:
        """Send one vote until it is answered 200."""
        voter, slug, choice = vote
        for _ in range(600):
            which = rng.choice(self.apis)
            url = f"http://127.0.0.1:{self.site.ports[which]}/v1/tools/{slug}/vote"
            try:
                answer = await client.put(url, json={"choice": choice}, headers=headers)
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 200:
                self.acknowledged.append(Acknowledged(voter, slug, choice, answer.json()["position"]))
                self.times.append((monotonic(), which))
                return
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.unexpected.append(f"{answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(0.05)
        self.unexpected.append("a vote was never answered")


@asynccontextmanager
async def load(site: Site, callers: int = 12, apis: tuple[int, ...] = (0, 1)) -> AsyncIterator[Load]:
    """Keep voting meanwhile."""
    load = Load(site, apis)
    tasks = [asyncio.create_task(load.caller(n)) for n in range(callers)]
    try:
        yield load
    finally:
        load.running = False
        await asyncio.gather(*tasks)


async def all_is_well(site: Site, load: Load) -> None:
    """Assert that every acknowledged vote is in the log once, positions are dense, and every view equals a fold of the log."""
    connection = await asyncpg.connect(site.server.dsn("site"))
    for _ in range(200):
        if all(state.lag == 0 for state in await states(connection)):
            break
        await asyncio.sleep(0.1)
    events = await connection.fetch(EVERY_VOTE)
    assert [e["position"] for e in events] == list(range(1, len(events) + 1))
    cast = [e for e in events if e["type"] == "VoteCast"]
    assert len({e["voter"] for e in cast}) == len(cast), "a retried vote was appended twice"
    logged = {e["position"]: e for e in cast}
    assert load.unexpected == []
    for vote in load.acknowledged:
        assert (logged[vote.position]["voter"], logged[vote.position]["choice"]) == (vote.voter, vote.choice)
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
    await connection.close()


@pytest.mark.timeout(120 + 10 * ROUNDS)
async def test_votes_survive_kills_and_stops(site: Site) -> None:
    """Whatever is killed or frozen under load: acknowledged votes are in the log once, every tally is a fold of it."""
    rng = random.Random(os.environ.get("BALLOTPRESS_SEED", "1"))
    async with load(site) as voting:
        for _ in range(ROUNDS):
            await asyncio.sleep(rng.uniform(0.3, 1.0))
            target = rng.choice(["api0", "api1", "projector0", "projector1", "postgres"])
            if rng.random() < 0.3:
                await site.stop_for(target, rng.uniform(0.5, 3))
            else:
                await asyncio.to_thread(site.kill, target)
        for port in site.ports:
            await site.ready(port)
        enough = len(voting.acknowledged) + 50
        while len(voting.acknowledged) < enough:
            await asyncio.sleep(0.1)
    await all_is_well(site, voting)


async def test_a_stopped_api_process_holds_the_others_up_for_two_seconds_at_most(site: Site) -> None:
    """Frozen at any moment, even inside its batch, an API process delays the other's votes by 2 s at most."""
    worst = 0.0
    async with load(site, apis=(0,)), load(site, callers=4, apis=(1,)) as voting:
        for _ in range(3):
            await asyncio.sleep(0.7)
            began = monotonic()
            await site.stop_for("api0", 3)
            times = [began, *(t for t, _ in voting.times if began < t < began + 3), began + 3]
            worst = max(worst, max(b - a for a, b in pairwise(times)))
    assert worst < 2.5
    await all_is_well(site, voting)


async def test_a_projector_takes_over(site: Site) -> None:
    """When the projector at work dies, or hangs, the other shows new votes within 5 s."""
    async with load(site, callers=4) as voting:
        await asyncio.sleep(1)
        for name in ("projector0", "projector1"):
            site.processes[name].kill()
            site.processes[name].wait()
            await shows_new_votes(site, 5)
            site.start(name)
            await asyncio.sleep(1.5)
            await site.stop_for(name, 4)
            await shows_new_votes(site, 1)
    await all_is_well(site, voting)


async def shows_new_votes(site: Site, seconds: float) -> None:
    """Wait until the cards have moved."""
    connection = await asyncpg.connect(site.server.dsn("site"))
    before = await connection.fetchval("select position from log.head")
    deadline = monotonic() + seconds
    while await connection.fetchval("select position from cards_1.checkpoint") < before:
        assert monotonic() < deadline, "nobody took over"
        await asyncio.sleep(0.05)
    await connection.close()
