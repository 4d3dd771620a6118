"""How fast the public log is signed and served: from a vote's commit to its checkpoint; resources against constants."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import asyncpg
import uvloop

from events.commands.ballots import CastVote
from projections.engine import notify
from services.proof.published import CHANNEL
from tests.benchmarks.client import paced, percentile
from tests.benchmarks.http import Api, Voting, tokens
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import committer, durable_postgres, new_database, new_id
from tests.support import servers
from tests.support.http import wait_until_ready
from tests.support.processes import COMMAND, free_port, started, wait_for
from tests.support.settings import LOG_KEY, UNLIMITED, environ

PUBLISHED = "select published_size from proof.log"


async def waits(dsn: str, rate: int, seconds: float) -> list[float]:
    """Vote at a rate; give for each vote the seconds from its commit to the publication of a checkpoint that covers it."""
    commits: list[tuple[float, int]] = []
    seen: list[tuple[float, int]] = []
    woken = asyncio.Event()
    connection = await asyncpg.connect(dsn)

    async def look() -> None:
        while True:
            await woken.wait()
            woken.clear()
            seen.append((monotonic(), await connection.fetchval(PUBLISHED) or 0))

    ring = notify.Bell(dsn, notify.LOG)
    tasks = [asyncio.create_task(work) for work in (ring.run(), look(), notify.listen(dsn, CHANNEL, woken.set))]
    async with committer(dsn, on_commit=lambda events: ring.ring()) as running:

        async def vote(n: int) -> None:
            receipt = await running.submit(CastVote(new_id(), f"tool-{n * 7 % 1000}", "ship"))
            commits.append((monotonic(), receipt.position or 0))

        begun, votes = monotonic(), []
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + n / rate - monotonic()))
            votes.append(asyncio.create_task(vote(n)))
        await asyncio.gather(*votes)
        await asyncio.sleep(5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    return list(_waited(sorted(commits, key=lambda commit: commit[1]), seen))


def _waited(commits: list[tuple[float, int]], seen: list[tuple[float, int]]) -> Iterator[float]:
    at = 0
    for committed, position in commits:
        while at < len(seen) - 1 and seen[at][1] < position:
            at += 1
        assert seen[at][1] >= position, "a vote was never covered"
        yield max(0.0, seen[at][0] - committed)


@contextmanager
def site(dsn: str, valkey: str, folder: Path, *, signs: bool) -> Iterator[Api]:
    """Run one API process and one projector, which signs the log or doesn't."""
    port = free_port()
    files = {"BALLOTPRESS_CHECKPOINT_FILE": str(folder / f"checkpoint-{port}"), "BALLOTPRESS_PACK_DIR": str(folder / "packs")}
    key = {"BALLOTPRESS_LOG_KEY": LOG_KEY} if signs else {}
    env = environ(dsn, valkey, **UNLIMITED, **files, **key)
    with (
        started((*COMMAND, "projector"), env),
        started((sys.executable, "-m", "tests.benchmarks.server", str(port)), env) as api,
    ):
        wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")
        yield Api(port, api, folder)


def measure(rate: int = 1000, seconds: float = 20, runs: int = 5) -> list[Row]:
    """Measure every row about signing and serving."""
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn, other = (asyncio.run(new_database(server, name)) for name in ("signed", "plain"))
        tokens(server.folder, 20_000)
        with site(dsn, valkey, server.folder, signs=True) as api:
            rows = [_freshness(dsn, rate, seconds), *_resources(api, dsn, runs), _idle(dsn)]
            with site(other, valkey, server.folder, signs=False) as plain:
                rows.append(_votes(api, plain, runs))
    return rows


def _freshness(dsn: str, rate: int, seconds: float) -> Row:
    found = sorted(uvloop.run(waits(dsn, rate, seconds))[rate:])
    p50, p99 = (1000 * found[int(len(found) * q)] for q in (0.5, 0.99))
    detail = f"p50 {p50:.0f} ms, worst {1000 * found[-1]:.0f} ms over {len(found):,} votes"
    measure = f"from a vote's commit to a published checkpoint that covers it, p99 at {rate:,} votes/s"
    return Row(measure, 1500, p99, detail, "ms", at_least=False)


def _resources(api: Api, dsn: str, runs: int, seconds: float = 4) -> Iterator[Row]:
    """Measure tiles, the checkpoint and proofs against constants of their sizes."""
    head = asyncio.run(_value(dsn, PUBLISHED))
    for name, goal, path in (
        ("the checkpoint", 0.9, "/log/1/checkpoint"),
        ("a tile of hashes", 0.6, "/log/1/tile/0/003"),
        ("a tile of entries", 0.6, "/log/1/tile/entries/003"),
        ("a proof of a position", 0.3, f"/v1/log/proof?position={head // 3}&size={head}"),
    ):
        with urlopen(f"http://127.0.0.1:{api.port}{path}") as answer:
            size = len(answer.read())
        ratio, detail = pairs(_reading(api, seconds, path), _reading(api, seconds, f"/bench/constant/{size}"), runs)
        yield Row(f"GET of {name}, against a constant of the same {size:,} bytes", goal, ratio, detail)
    until = monotonic() + 10
    asked = asyncio.run(
        paced(
            api.port,
            lambda n: ("GET", f"/v1/log/proof?position={1 + n * 7919 % head}", "", b""),
            100,
            lambda: monotonic() < until,
        )
    )
    p99 = 1000 * percentile(asked, 0.99)
    yield Row("a proof of a position, p99 at 100/s", 20, p99, f"over {len(asked):,} proofs", "ms", at_least=False)


def _reading(api: Api, seconds: float, path: str) -> Callable[[], float]:
    return lambda: api.wrk(seconds, path)[0]


def _votes(api: Api, plain: Api, runs: int) -> Row:
    ours, theirs = (Voting(one, 5, "/v1/tools/tool-%d/vote") for one in (api, plain))
    ours.sent = theirs.sent = 5_000_000
    ours()
    theirs()
    ratio, detail = pairs(ours, theirs, runs)
    return Row("PUT of a vote, with the log signed against without", 0.97, ratio, detail)


def _idle(dsn: str) -> Row:
    """Count the checkpoints of ten idle seconds; what else writes in an idle database isn't ours."""
    count = "select count(*) from proof.checkpoints"
    assert wait_for(lambda: asyncio.run(_value(dsn, PUBLISHED)) == asyncio.run(_value(dsn, "select position from log.head")))
    before = asyncio.run(_value(dsn, count))
    asyncio.run(asyncio.sleep(10))
    return Row("checkpoints signed in ten idle seconds", 0, asyncio.run(_value(dsn, count)) - before, "", "", at_least=False)


async def _value(dsn: str, statement: str) -> int:
    connection = await asyncpg.connect(dsn)
    found: int = await connection.fetchval(statement)
    await connection.close()
    return found
