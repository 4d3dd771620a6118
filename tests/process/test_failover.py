"""A failover to a synchronous standby under load: no acknowledged vote is lost, and every process goes on by itself.

BALLOTPRESS_FAILOVERS says how many there are of each kind (default 1); BALLOTPRESS_FAILOVERS_FILE is where their seconds go.
"""

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from tests.support import standbys
from tests.support.processes import COMMAND, PATIENCE
from tests.support.runners import until
from tests.support.settings import LOG_KEY
from tests.support.standbys import Pair, value
from tests.support.streams import Stream, streaming
from tests.support.survival import Cluster, Load, all_is_well, load, populate

pytestmark = pytest.mark.postgres

FAILOVERS = int(os.environ.get("BALLOTPRESS_FAILOVERS", "1"))


@pytest.fixture(scope="module")
def fleet(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A site behind a synchronous standby, with a worker, and projectors that sign."""
    kept = tmp_path_factory.mktemp("failover")
    more = {
        "BALLOTPRESS_LOG_KEY": LOG_KEY,
        "BALLOTPRESS_CHECKPOINT_FILE": str(kept / "checkpoint"),
        "BALLOTPRESS_HOME": str(kept / "home"),
    }
    (kept / "home").mkdir(mode=0o700)
    with standbys.pair() as pair:
        cluster = Cluster(pair, kept, valkey_url, replicated=True, **more)
        try:
            asyncio.run(populate(pair, replicated=True))
            cluster.adopt(**{f"server{n}": process for n, process in enumerate(pair.processes) if process is not None})
            cluster.start()
            cluster.work()
            cluster.ready()
            yield cluster
        finally:
            cluster.end()
            for number, folder in enumerate(pair.folders):
                shutil.copy(folder / "log", kept / f"server{number}.log")


@asynccontextmanager
async def taken_over(cluster: Cluster, how: str) -> AsyncIterator[None]:
    """Kill or freeze the primary, and promote its standby; a frozen one comes back with the end."""
    pair, old = cluster.pair, cluster.pair.primary
    if how == "killed":
        cluster.kill(f"server{old}")
        await asyncio.sleep(random.uniform(0, 1))
        await pair.promote()
        yield
        return
    with pair.frozen(old):
        await asyncio.sleep(random.uniform(0, 1))
        await pair.promote()
        yield


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.timeout(600 + 120 * FAILOVERS)
async def test_no_acknowledged_vote_is_lost_and_all_go_on(fleet: Cluster, how: str) -> None:
    """A primary that dies, and one whose machine hangs: votes, views, notes, live stream and worker go on at the standby.

    One that comes back afterwards takes no vote, and is named until it is stopped.
    """
    async with load(fleet) as voting:
        for _ in range(FAILOVERS):
            with streaming(f"http://127.0.0.1:{fleet.ports[0]}", "tool-0", "tool-1", "tool-2") as stream:
                await voting.acknowledges(30)
                async with taken_over(fleet, how):
                    await asyncio.to_thread(await_votes, fleet, voting, how)
                    await goes_on(fleet, stream, voting)
                if how == "frozen":
                    await is_named(fleet)
            await take_back(fleet.pair, fleet)
    await all_is_well(fleet, voting)
    assert await value(fleet.dsn, "select count(*) from log.rewinds") == 0


def await_votes(cluster: Cluster, voting: Load, how: str) -> None:
    """Wait until a vote is answered; note how long that took, and the longest time without one."""
    promoted = monotonic()
    deadline = promoted + PATIENCE
    while voting.acknowledged[-1].at < promoted and monotonic() < deadline:
        time.sleep(0.01)
    last = max(vote.at for vote in voting.acknowledged if vote.at < promoted)
    first = min(vote.at for vote in voting.acknowledged if vote.at > promoted)
    if file := os.environ.get("BALLOTPRESS_FAILOVERS_FILE"):
        with Path(file).open("a") as lines:
            lines.write(json.dumps({"how": how, "after_promotion": first - promoted, "without": first - last}) + "\n")


async def goes_on(cluster: Cluster, stream: Stream, voting: Load) -> None:
    """Wait until everything that follows the log shows what was voted at the new primary."""
    connection = await asyncpg.connect(cluster.pair.one(cluster.pair.primary, "site"))
    began, head = await connection.fetchrow("select now(), (select position from log.head)")  # type: ignore[misc]
    await voting.acknowledges(20)

    async def followed() -> bool:
        said: bool = await connection.fetchval(
            """select (select min(position) from cards_4.checkpoint) > $1
                  and (select max(size) from proof.checkpoints) > $1
                  and not exists (select from unnest(array['api', 'projector', 'worker']) k(kind) where not exists (
                          select from status.processes p where p.kind = k.kind and p.seen_at > $2))""",
            head, began,
        )  # fmt: skip
        return said

    await until(followed)
    await asyncio.to_thread(shows, stream, head)
    await connection.close()


def shows(stream: Stream, position: int) -> None:
    """Wait until a viewer, who was there all the time, is told of something later than a position."""
    while (event := stream.events.get(timeout=PATIENCE)) is not None:
        if event.id > position:
            return
    raise AssertionError("the live stream ended")


async def is_named(cluster: Cluster) -> None:
    """The old primary is back: a new process doesn't go there, and `status` and readiness say what to do."""
    command = (*COMMAND, "status")
    done = await asyncio.to_thread(
        subprocess.run, command, env=cluster.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    old = cluster.pair.folders[cluster.pair.standby]
    assert f"! Of two servers that take writes one was taken over from: {old}:5432 takes writes on timeline" in done.stdout
    assert "stop it and make a standby of it" in done.stdout


async def take_back(pair: Pair, cluster: Cluster) -> None:
    """Make a standby of the old primary, which votes wait for again."""
    pair.kill(pair.standby)
    await asyncio.to_thread(pair.clone)
    process = pair.processes[pair.standby]
    assert process is not None
    cluster.adopt(**{f"server{pair.standby}": process})
    await pair.wait_for_standby(synchronous=True)
