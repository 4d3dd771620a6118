"""A failover to a standby under load: every process goes on by itself.

A synchronous one loses no acknowledged vote. One that lacks the last votes is found out by every process.

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
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import httpx
import pytest

from events.commands.ballots import CastVote
from tests.support import calling, standbys
from tests.support.catalogs import new_id
from tests.support.http import wait_until_ready
from tests.support.log import add_tools, patient
from tests.support.processes import COMMAND, PATIENCE, free_port
from tests.support.runners import until
from tests.support.settings import LOG_KEY
from tests.support.shell import Shell
from tests.support.shown import addresses, look, shows_alike
from tests.support.standbys import Pair, value
from tests.support.stem import forked
from tests.support.streams import Stream, streaming
from tests.support.survival import PART, Cluster, Load, all_is_well, load, populate

pytestmark = pytest.mark.postgres

FAILOVERS = int(os.environ.get("BALLOTPRESS_FAILOVERS", "1"))

LOST = 40
"""Votes that are acknowledged and lost."""
MOST_UNEVEN = 5
"""Addresses whose answer tells the time."""
SCRATCH = "select count(*) from pg_namespace where nspname ~ '_(next|prev|gone|swap)$'"
LAST = "select position from log.head"
BOTH = "select least((select min(position) from cards_4.checkpoint), (select position from log.head))"


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


@pytest.mark.timeout(600 + 120 * FAILOVERS)
async def test_what_was_going_on_is_done_again(fleet: Cluster, tmp_path: Path) -> None:
    """A replay and an archiving in whose midst the primary dies go on, or end in a line; done again, all is right."""
    shell = Shell(fleet.folder / "home", fleet.dsn, "")
    shell.environ = dict(fleet.environ)
    replay, archive = ("replay", "--jobs", "2", "--pause", "300"), ("events", "archive", "0", "--young", "--to", str(tmp_path))
    async with load(fleet, callers=2) as voting:
        await voting.acknowledges(3 * PART)
        await value(fleet.dsn, "update integrity.scans set scanned_to = now() returning true")
        for _ in range(FAILOVERS):
            with shell.started(*replay) as one, shell.started(*archive) as other:
                await asyncio.sleep(random.uniform(0.5, 2.5))
                async with taken_over(fleet, "killed"):
                    for process in (one, other):
                        _, said = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
                        assert not process.returncode or said.splitlines()[-1].startswith(b"ballotpress: "), said.decode()
            for words in (replay, archive):
                again = await asyncio.to_thread(shell.process, *words)
                assert again.status == 0 or "in the archive already" in again.err, again.err
            await take_back(fleet.pair, fleet)
            assert (await asyncio.to_thread(shell.process, "events", "unarchive", "0")).status == 0
    assert await value(fleet.dsn, SCRATCH) == 0
    await all_is_well(fleet, voting)


@pytest.mark.timeout(600)
async def test_a_lost_tail_is_found_by_every_process(fleet: Cluster) -> None:
    """An asynchronous standby takes over without the last votes: caches, ETags, views and worker go by the log as it is.

    Every address is answered as by a process that never knew the lost votes. `status` and readiness say what is gone and what
    to do; the signer signs no other history than it did.
    """
    pair = fleet.pair
    await pair.wait_for_standby(synchronous=False)
    async with load(fleet) as voting:
        await voting.acknowledges(30)
    await stands_at(pair.one(pair.standby, "site"), await value(fleet.dsn, LAST))
    fleet.kill(f"server{pair.standby}")
    kept = await value(fleet.dsn, LAST)
    assert isinstance(kept, int)
    async with patient(fleet.dsn) as committer:
        await add_tools(committer, "lost-tool")
        for n in range(LOST):
            await committer.submit(CastVote(new_id(), ("lost-tool", "tool-0", "tool-1", "tool-2")[n % 4], "ship"))
    lost = await value(fleet.dsn, LAST)
    await stands_at(fleet.dsn, lost)
    await until(lambda: signs(fleet, lost))
    clients = [calling.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) for port in fleet.ports]
    past = [f"/v1/tools/tool-{n}?position={kept + more}" for n in range(3) for more in (1, 5, LOST // 2)]
    asked = [*addresses("tool-1", "lost-tool"), *past]
    known = [{address: await look(client, address) for address in asked} for client in clients]
    assert sum(shown.status == 200 for shown in known[0].values()) > len(asked) // 2
    assert known[0]["/v1/tools/lost-tool"].status == 200

    with ExitStack() as asleep:  # one sleeps through all of it, and wakes when the log has passed what it knew
        asleep.enter_context(fleet.frozen("api0"))
        fleet.kill(f"server{pair.primary}")
        fleet.start(f"server{pair.standby}")
        await pair.promote()
        with another_api(fleet) as address:
            async with calling.AsyncClient(base_url=address, timeout=PATIENCE) as fresh:
                for votes in (5, LOST + 10):
                    async with load(fleet, apis=(1,)) as after:
                        await after.acknowledges(votes)
                    await stands_at(fleet.dsn, await value(fleet.dsn, LAST))
                    await all_is_well(fleet, after)
                asleep.close()
                for client, before in zip(clients, known, strict=True):
                    assert await shows_alike(client, fresh, before) <= MOST_UNEVEN
    assert (await look(clients[0], "/v1/tools/lost-tool")).status == 404
    await says_what_to_do(fleet, clients[0], kept)
    signed = await value(fleet.dsn, "select max(size) from proof.checkpoints")
    assert isinstance(signed, int) and signed <= kept, "another history was signed"
    for client in clients:
        await client.aclose()


@contextmanager
def another_api(fleet: Cluster) -> Iterator[str]:
    """Run an API process that knows nothing of the past; give its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with forked("api", "--port", str(port), environ=fleet.environ, output=fleet.folder / "output"):
        wait_until_ready(address, fleet.said)
        yield address


async def stands_at(dsn: str, position: object) -> None:
    """Wait until a database has the log and the cards up to a position."""

    async def reached() -> bool:
        seen = await value(dsn, BOTH)
        return isinstance(seen, int) and isinstance(position, int) and seen >= position

    await until(reached)


async def signs(fleet: Cluster, position: object) -> bool:
    """Tell whether the log is signed up to a position."""
    return await value(fleet.dsn, "select max(size) from proof.checkpoints") == position


async def says_what_to_do(fleet: Cluster, client: httpx.AsyncClient, kept: int) -> None:
    """`status` and readiness name the rewind and the signer's doubt; the worker holds the newsletter, and knows the new log."""
    ready = (await client.get("/health/ready")).json()
    assert ready["status"] == "degraded"
    assert f"history: the log went back from {kept + LOST + 1} to {kept}" in str(ready["reasons"])
    command = (*COMMAND, "status")
    done = await asyncio.to_thread(
        subprocess.run, command, env=fleet.environ, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert f"! The log went back from {kept + LOST + 1} to {kept}: {LOST + 1} positions are gone" in done.stdout, done.stdout
    assert "`ballotpress digest resume`" in done.stdout
    assert "! The public log isn't signed any more" in done.stdout
    assert await value(fleet.dsn, "select paused_at is not null from newsletter.schedule")
    noticed = await value(fleet.dsn, "select string_agg(distinct noticed_by, ', ') from log.rewinds")
    assert "the worker" in str(noticed) or "the cards" in str(noticed), noticed
