"""`ballotpress replay`, killed or stopped on the log of a year: the live views stay, and the next run takes it from there.

BALLOTPRESS_KILL_ROUNDS says how many runs are killed (default 4), half as many behind a replica.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from events.registry import REGISTRY
from projections.engine.folding import Pace
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS
from tests.support.runners import Connection, catch_up_all, tables
from tests.support.shell import Shell
from tests.support.survival import BOTH_WAYS, Place, all_are_logged, voting
from tests.support.year import fill_year

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "4"))
HEAD = "select position from log.head"
SCRATCH = "select count(*) from pg_namespace where nspname ~ '_(next|prev|gone|swap)$'"
VERDICTS = next(p for p in PROJECTIONS if p.name == "verdicts")


@pytest.fixture
async def dsn(place: Place) -> AsyncIterator[str]:
    """A database with the log of a year, and views at its head; a shorter one where all is sent to a replica as well."""
    events = 12_000 if place.is_replicated else 60_000

    async def fill(dsn: str) -> None:
        await fill_year(dsn, events, 50)
        await catch_up_all(dsn)

    async with place.database(await place.filled(f"year_of_{events}", fill)) as dsn:
        yield dsn


@pytest.mark.timeout(600 + 60 * ROUNDS)
@BOTH_WAYS
async def test_killed_at_any_moment_nothing_is_lost(place: Place, connection: Any, shell: Shell) -> None:
    """SIGKILL at random moments leaves every view live and right, the old one or the new; the next run takes it from there.

    So it does while votes are cast: those are in the log, and in the views once a projector folds them.
    """
    right, head = await all_tables(connection), await connection.fetchval(HEAD)
    moments = random.Random(4)
    async with voting(place.ports) as load:
        for n in range(ROUNDS // 2 if place.is_replicated else ROUNDS):
            with shell.started("replay", "--pause", "30", "--jobs", "1213"[n % 4]):
                await asyncio.sleep(moments.uniform(0.4, 2.2))
            await asyncio.sleep(0.05)
            assert await all_tables(connection) == right
        ran = await asyncio.to_thread(shell.process, "replay", "--json", "--jobs", "3")
    said = ran.json()
    assert [(one["projection"], one["switched"]) for one in said["replayed"]] == [(p.name, True) for p in PROJECTIONS]
    assert all(one["diff"]["tables"] == [] for one in said["replayed"])
    assert await all_tables(connection) == right
    assert await connection.fetchval(SCRATCH) == 0
    assert bool(load.acknowledged) == place.is_replicated
    await all_are_logged(connection, load, head)
    if place.is_replicated:
        await catch_up_all(shell.environ["DATABASE_URL"])
        shell("verify", status=0)


async def all_tables(connection: Connection) -> dict[str, Any]:
    """Return what every view holds."""
    return {p.schema: await tables(connection, p.schema) for p in PROJECTIONS}


async def test_goes_on_where_it_was_killed(dsn: str, connection: Any, shell: Shell) -> None:
    """A replay that was cut short goes on at its own checkpoint; one by other statements is begun anew."""
    pace = Pace(pause=0, window=10_000)
    first = Rebuild(dsn, VERDICTS, REGISTRY, pace=pace, report=_stop_at(30_000))
    assert await first.prepare() is False
    with pytest.raises(KeyboardInterrupt):
        await first.catch_up()
    at = await connection.fetchval("select position from verdicts_1_next.checkpoint")
    assert 30_000 <= at < 45_000
    status = shell("status").out
    assert f"verdicts_1_next was being rebuilt, to position {at}" in status
    assert "`ballotpress replay verdicts` goes on" in status
    seen: list[int] = []
    again = Rebuild(dsn, VERDICTS, REGISTRY, pace=pace, report=lambda progress: seen.append(progress.position))
    assert await again.prepare() is True
    await again.catch_up()
    assert min(seen) > at
    assert (await again.compare()).tables == []
    await connection.execute("update verdicts_1_next.checkpoint set made_by = 'another release'")
    assert await again.prepare() is False
    assert await connection.fetchval("select position from verdicts_1_next.checkpoint") == 0
    await again.abandon()
    assert await connection.fetchval(SCRATCH) == 0


def _stop_at(position: int) -> Any:
    def report(progress: Any) -> None:
        if progress.position >= position:
            raise KeyboardInterrupt

    return report
