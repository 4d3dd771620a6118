"""The site while views are rebuilt: it votes, reads and follows, before, during and after the switch."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.engine.folding import Pace
from projections.engine.projection import only_one
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS
from projections.runner import follow_log
from services.clock import now
from services.web.http import checks
from tests.support import disks, servers, sites
from tests.support.disks import small_disk
from tests.support.histories import A_DAY, EXAMPLES, TOOLS, VOTERS, Act, History, add_three_tools, histories, random_histories
from tests.support.log import patient
from tests.support.processes import PATIENCE
from tests.support.runners import at_head, catch_up_all, must_be_right, runner, running, tables, until
from tests.support.servers import database
from tests.support.settings import settings
from tests.support.shell import Shell
from tests.support.year import fill_year


async def replay_all(dsn: str, pace: Pace) -> None:
    """Rebuild and switch every view, one after another."""
    for projection in PROJECTIONS:
        async with only_one(dsn, projection):
            rebuild = Rebuild(dsn, projection, REGISTRY, pace=pace)
            await rebuild.prepare()
            await rebuild.catch_up()
            assert (await rebuild.compare()).tables == []
            await rebuild.switch(keep_previous=False)


@examples(random_histories, max_examples=max(2, EXAMPLES // 5))
@given(acts=histories, later=histories, window=st.integers(5, 40), nearly=st.integers(0, 9))
async def test_rebuilt_while_all_goes_on(
    postgres: servers.Postgres, template: str, acts: Sequence[Act], later: Sequence[Act], window: int, nearly: int
) -> None:
    """Votes, edits and voids all the while: no comparison sees a difference, and after the switches rebuilt = live = fold."""
    async with database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        async with patient(dsn) as committer:
            await add_three_tools(committer)
            history = History(committer)
            await history.do(acts)
            async with running(*(runner(dsn, projection) for projection in PROJECTIONS)):
                replaying = asyncio.create_task(replay_all(dsn, Pace(pause=0.001, window=window, nearly=nearly)))
                await history.do(later)
                rest = 0.03
                while not replaying.done():
                    await history.do([("vote", VOTERS[3], 0, "ship"), ("vote", VOTERS[3], 0, "skip")])
                    await asyncio.wait({replaying}, timeout=rest)
                    rest *= 1.02  # small windows on a busy machine would follow such votes for ever
                await replaying
                await until(lambda: at_head(connection))
        await must_be_right(connection, dsn)
        await connection.close()


@asynccontextmanager
async def projecting(dsn: str) -> AsyncIterator[None]:
    """Run a projector."""
    task = asyncio.create_task(follow_log(dsn, now))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


READS = (
    *(f"/v1/tools?sort={sort}" for sort in ("name", "community", "panel", "trending")),
    "/v1/tools/one",
    "/v1/tools/one/tally",
    "/v1/tools/one/tally/history",
    "/v1/tools/three/reviews",
    "/v1/comparisons",
    "/v1/comparisons/one-vs-two",
    "/v1/corrections",
    "/v1/categories",
    "/v1/bookmarks",
    "/health/ready",
)


async def test_a_running_site_survives_switches(
    shell: Shell, dsn: str, connection: Any, committer: Committer, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared statements of a running API and projector follow every switch and rollback: all is answered."""
    monkeypatch.setattr(checks, "PATIENCE_SECONDS", PATIENCE)  # a slow machine is ready too
    await add_three_tools(committer)
    await History(committer).do(A_DAY)
    async with projecting(dsn), sites.client(settings(dsn, valkey_url, writes_per_minute=10**6)) as site:
        await until(lambda: at_head(connection))
        visitor = {"authorization": f"Bearer {(await site.post('/v1/visitors')).json()['token']}"}
        stop = asyncio.Event()
        asking = asyncio.create_task(keep_asking(site, visitor, stop))
        for words in (["--keep-previous"], ["--rollback", "cards"], ["--rollback", "hours"], []):
            ran = await asyncio.to_thread(shell.process, "replay", *words)
            assert ran.status == 0, ran.err
        stop.set()
        assert await asking > 50
        await until(lambda: at_head(connection))
        ready = (await site.get("/health/ready")).json()
        assert ready == {"status": "ok"}, ready
    await must_be_right(connection, dsn)


async def keep_asking(site: httpx.AsyncClient, visitor: dict[str, str], stop: asyncio.Event) -> int:
    """Read everything and vote until told to stop; return the number of answers, each of which succeeded."""
    answers = 0
    while not stop.is_set():
        for choice in ("ship", "skip"):
            voted = await site.put("/v1/tools/one/vote", json={"choice": choice}, headers=visitor)
            assert voted.status_code == 200, voted.text
            for path in READS:
                answer = await site.get(path, headers=visitor)
                assert answer.status_code == 200, (path, answer.text)
                answers += 1
            seen = await site.get(f"/v1/tools/one?after={voted.json()['position']}")
            assert seen.json()["community"] == voted.json()["community"]
            await asyncio.sleep(0.1)  # the replay needs the machine, too
    return answers


async def test_a_mended_number_is_served(
    shell: Shell, dsn: str, connection: Any, committer: Committer, valkey_url: str
) -> None:
    """Readiness, metrics and status report a drifted count; after a replay the right count is served."""
    await add_three_tools(committer)
    await History(committer).do(A_DAY)
    await catch_up_all(dsn)
    await connection.execute("update cards_4.tallies set ship = 77 where tool = $1", TOOLS[0])
    cards = PROJECTIONS[0]
    async with sites.client(settings(dsn, valkey_url)) as site:
        assert (await site.get("/v1/tools/one")).json()["community"]["ship"] == 77
        async with running(runner(dsn, cards, look_every=0.05)):
            await asyncio.sleep(0.3)
            await connection.execute("update cards_4.tallies set skip = 7 where tool = $1", TOOLS[0])

            async def alarmed() -> bool:
                return bool((await site.get("/health/ready")).json()["status"] == "degraded")

            await until(alarmed)
            (reason,) = (await site.get("/health/ready")).json()["reasons"]
            assert "cards has drifted from the log: its tables hold " in reason
            assert 'ballotpress_view_drifted{view="cards"} 1.0' in (await site.get("/metrics")).text
            assert "`ballotpress replay cards` mends them" in shell("status", status=1).out
            shell("replay", "cards", status=0)

            async def served() -> bool:
                return bool((await site.get("/v1/tools/one")).json()["community"]["ship"] < 5)

            await until(served)

        async def well() -> bool:  # one look is told to all who ask within a second
            return bool((await site.get("/health/ready")).json() == {"status": "ok"})

        await until(well)


async def test_a_full_disk_is_said_and_leaves_the_live_views(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path: Path
) -> None:
    """When the disk is full, replay and verify end with one clear line, give the space back, and the live views stay."""
    async with small_disk(postgres, 3) as disk, database(postgres, template) as dsn:
        await fill_year(dsn, 40_000, 50)
        await catch_up_all(dsn)
        connection = await asyncpg.connect(dsn)
        before = await tables(connection, "hours_5")
        name = await connection.fetchval("select current_database()")
        for setting in disks.SETTINGS:
            await connection.execute(f"alter database {name} set {setting} = {disk.space}")
        shell = Shell(tmp_path, dsn, valkey_url)
        for command in ("replay", "verify"):
            ran = shell(command, "hours", status=1)
            assert "disk is full" in ran.err and ran.err.count("\n") == 1, ran.err
            assert await connection.fetchval("select to_regnamespace('hours_5_next')") is None
        for setting in disks.SETTINGS:
            await connection.execute(f"alter database {name} reset {setting}")
        assert await tables(connection, "hours_5") == before
        assert "nothing differs" in shell("replay", "hours", status=0).out
        await connection.close()
