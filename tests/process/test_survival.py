"""What survives: SIGKILL and SIGSTOP of API processes, projectors, PostgreSQL and its replica at random moments, under load.

BALLOTPRESS_KILL_ROUNDS says how many faults are made of each site (default 2).
"""

import asyncio
import os
import random
import shutil
from collections.abc import Iterator

import asyncpg
import pytest

from tests.support import standbys
from tests.support.runners import until
from tests.support.survival import Cluster, all_is_well, load, populate

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "2"))


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "with a replica"])
def fleet(request: pytest.FixtureRequest, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with twenty tools; behind a replica every commit waits for it."""
    kept = tmp_path_factory.mktemp("survival")
    with standbys.pair() as pair:
        cluster = Cluster(pair, kept, valkey_url, replicated=request.param)
        try:
            asyncio.run(populate(pair, replicated=request.param))
            cluster.adopt(**{f"server{n}": process for n, process in enumerate(pair.processes) if process is not None})
            yield cluster
        finally:
            cluster.end()
            for number, folder in enumerate(pair.folders):
                if (folder / "log").exists():
                    shutil.copy(folder / "log", kept / f"server{number}.log")


@pytest.fixture
async def cluster(fleet: Cluster) -> Cluster:
    """The cluster, all of it running, whatever an earlier test did to it."""
    fleet.start()
    await asyncio.to_thread(fleet.ready)
    return fleet


@pytest.mark.timeout(600 + 60 * ROUNDS)
async def test_votes_survive_kills_and_stops(cluster: Cluster) -> None:
    """After kills and freezes under load, acknowledged votes are in the log once, and every tally is a fold of it."""
    rng = random.Random(os.environ.get("BALLOTPRESS_SEED", "1"))
    async with load(cluster) as voting:
        for _ in range(ROUNDS):
            await asyncio.sleep(rng.uniform(0.3, 1.0))
            target = rng.choice(sorted(cluster.starts))
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
