"""`ballotpress replay`, killed or stopped on the log of a year: the live views stay, and the next run takes it from there."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.registry import REGISTRY
from projections.engine.folding import Pace
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS
from services.migrate import migrate
from tests.support import servers
from tests.support.runners import Connection, catch_up_all, tables
from tests.support.shell import Shell
from tests.support.year import fill_year

SCRATCH = "select count(*) from pg_namespace where nspname ~ '_(next|prev|gone|swap)$'"
VERDICTS = next(p for p in PROJECTIONS if p.name == "verdicts")


@pytest.fixture(scope="module")
def year(postgres: servers.Postgres) -> str:
    """A database with the log of a year, and views at its head."""

    async def make() -> None:
        await servers.execute(postgres.dsn(), "create database year_of_replays")
        await migrate(postgres.dsn("year_of_replays"))
        await fill_year(postgres.dsn("year_of_replays"), 60_000, 50)
        await catch_up_all(postgres.dsn("year_of_replays"))

    asyncio.run(make())
    return postgres.dsn("year_of_replays")


@pytest.fixture
async def long(year: str) -> AsyncIterator[Connection]:
    """A connection to the log of a year."""
    connection = await asyncpg.connect(year)
    yield connection
    await connection.close()


async def test_killed_at_any_moment_nothing_is_lost(year: str, long: Any, valkey_url: str, tmp_path: Any) -> None:
    """SIGKILL at random moments leaves every view live and right, the old one or the new; the next run takes it from there."""
    shell = Shell(tmp_path, year, valkey_url)
    right = {p.schema: await tables(long, p.schema) for p in PROJECTIONS}
    moments = random.Random(4)
    for jobs in ("1", "2", "1", "3"):
        with shell.started("replay", "--pause", "30", "--jobs", jobs):
            await asyncio.sleep(moments.uniform(0.4, 2.2))
        await asyncio.sleep(0.05)
        assert {p.schema: await tables(long, p.schema) for p in PROJECTIONS} == right
    said = shell("replay", "--json", "--jobs", "3").json()
    assert [(one["projection"], one["switched"]) for one in said["replayed"]] == [(p.name, True) for p in PROJECTIONS]
    assert all(one["diff"]["tables"] == [] for one in said["replayed"])
    assert {p.schema: await tables(long, p.schema) for p in PROJECTIONS} == right
    assert await long.fetchval(SCRATCH) == 0


async def test_goes_on_where_it_was_killed(year: str, long: Any, valkey_url: str, tmp_path: Any) -> None:
    """A replay that was cut short goes on at its own checkpoint; one by other statements is begun anew."""
    pace = Pace(pause=0, window=10_000)
    first = Rebuild(year, VERDICTS, REGISTRY, pace=pace, report=_stop_at(30_000))
    assert await first.prepare() is False
    with pytest.raises(KeyboardInterrupt):
        await first.catch_up()
    at = await long.fetchval("select position from verdicts_1_next.checkpoint")
    assert 30_000 <= at < 45_000
    status = Shell(tmp_path, year, valkey_url)("status").out
    assert f"verdicts_1_next was being rebuilt, to position {at}" in status
    assert "`ballotpress replay verdicts` goes on" in status
    seen: list[int] = []
    again = Rebuild(year, VERDICTS, REGISTRY, pace=pace, report=lambda progress: seen.append(progress.position))
    assert await again.prepare() is True
    await again.catch_up()
    assert min(seen) > at
    assert (await again.compare()).tables == []
    await long.execute("update verdicts_1_next.checkpoint set made_by = 'another release'")
    assert await again.prepare() is False
    assert await long.fetchval("select position from verdicts_1_next.checkpoint") == 0
    await again.abandon()
    assert await long.fetchval(SCRATCH) == 0


def _stop_at(position: int) -> Any:
    def report(progress: Any) -> None:
        if progress.position >= position:
            raise KeyboardInterrupt

    return report
