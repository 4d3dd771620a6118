"""Ranges of the log folded side by side: kept when cut short, given up for windows at an event that fails, gone when done.

BALLOTPRESS_KILL_ROUNDS says how many runs are killed (default 3), a third as many behind a replica.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.engine import ranges
from projections.engine.folding import Jobs, Pace, Progress
from projections.engine.rebuild import Rebuild
from projections.engine.runner import Halted
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.cli.folding import longest_first
from tests.support import doomed_replay
from tests.support.histories import VOTERS, History, add_three_tools
from tests.support.runners import APPEND_UNKNOWN, Connection, catch_up, catch_up_all, tables
from tests.support.survival import BOTH_WAYS, Place
from tests.support.year import fill_year

BY_NAME = {projection.name: projection for projection in PROJECTIONS}
IN_RANGES = [projection for projection in PROJECTIONS if projection.parts]
PACE = Pace(pause=0, window=doomed_replay.WINDOW)
PARTS = "select count(*) from pg_class where relkind = 'r' and (relname like 'part\\_%' or relname = 'ranges')"
SCRATCH = "select count(*) from pg_namespace where nspname ~ '_(next|parts_[0-9]+)$'"
EVENTS = 24_000
RANGES = EVENTS // doomed_replay.WINDOW
ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "3"))


class Stopped(Exception):
    """A replay was stopped."""


async def fill(dsn: str) -> None:
    """Write a short year's log, and bring the views to its head."""
    await fill_year(dsn, EVENTS, 50)
    await catch_up_all(dsn)


@pytest.fixture
async def year(place: Place) -> AsyncIterator[str]:
    """A database with a short year's log, and views at its head."""
    async with place.database(await place.filled("year_of_ranges", fill)) as dsn:
        yield dsn


@pytest.fixture
async def long(year: str) -> AsyncIterator[Connection]:
    """A connection to that log."""
    connection = await asyncpg.connect(year)
    yield connection
    await connection.close()


@pytest.mark.parametrize("jobs", [1, 3])
async def test_ranges_make_what_windows_made(year: str, long: Any, jobs: int) -> None:
    """Of a year, by one job or several: every row is the live view's, the ranges are told as progress, and no part stays."""
    for projection in IN_RANGES:
        told: list[Progress] = []
        rebuild = Rebuild(year, projection, REGISTRY, pace=PACE, report=told.append, jobs=Jobs(jobs))
        await rebuild.prepare()
        await rebuild.catch_up()
        assert [one.position for one in told][:RANGES] == [PACE.window * n for n in range(1, RANGES + 1)]
        assert await long.fetchval(PARTS) == 0
        assert await tables(long, projection.next_schema) == await tables(long, projection.schema)
        assert (await rebuild.compare()).tables == []
        await rebuild.abandon()


async def test_several_jobs_begin_what_ends_alone(year: str, long: Any) -> None:
    """The views that jobs fold together come first, the largest leading: what follows its ranges one job does alone."""
    order = await longest_first(long, PROJECTIONS)
    assert set(order[: len(IN_RANGES)]) == set(IN_RANGES)
    assert order[0].name == "integrity"
    assert order.index(BY_NAME["hours"]) < order.index(BY_NAME["cards"])
    assert sorted(view.name for view in order) == sorted(BY_NAME)


async def test_jobs_share_their_connections(year: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several views at once no more ranges have connections than there are jobs: the server's are for votes, too."""
    at_work, most = 0, 0
    real = ranges.Ranges._take

    async def counted(self: ranges.Ranges, *arguments: Any) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await real(self, *arguments)
        at_work -= 1

    monkeypatch.setattr(ranges.Ranges, "_take", counted)
    jobs = Jobs(2)
    rebuilds = [Rebuild(year, projection, REGISTRY, pace=PACE, jobs=jobs) for projection in IN_RANGES]
    await ranges.side_by_side(*(_built(rebuild) for rebuild in rebuilds))
    assert most == jobs.number
    for rebuild in rebuilds:
        assert (await rebuild.compare()).tables == []
        await rebuild.abandon()


async def _built(rebuild: Rebuild) -> None:
    await rebuild.prepare()
    await rebuild.catch_up()


@BOTH_WAYS
async def test_killed_at_any_moment_the_ranges_that_are_done_stay(place: Place, year: str, long: Any) -> None:
    """SIGKILL at random moments of a replay of all views: the next goes on with the missing ranges, and comes to the same."""
    moments = random.Random(7)
    for _ in range(ROUNDS // 3 if place.is_replicated else ROUNDS):
        command = [sys.executable, "-m", "tests.support.doomed_replay", year, "2"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        for _ in range(moments.randrange(2, 12)):
            assert process.stdout is not None and await process.stdout.readline(), "it ended before it was killed"
        process.kill()
        await process.communicate()
    for projection in PROJECTIONS:
        done = await ranges_done(long, projection.next_schema)
        told: list[Progress] = []
        rebuild = Rebuild(year, projection, REGISTRY, pace=PACE, report=told.append, jobs=Jobs(2))
        await rebuild.prepare()
        await rebuild.catch_up()
        if done is not None:
            assert len([one for one in told if one.position <= RANGES * PACE.window]) == RANGES - done
        assert await tables(long, projection.next_schema) == await tables(long, projection.schema)
        await rebuild.abandon()
    assert await long.fetchval(SCRATCH) == 0


async def ranges_done(connection: Connection, schema: str) -> int | None:
    """Return how many ranges a replay that was killed had folded; None if it had merged them, or makes none."""
    if await connection.fetchval("select to_regclass($1) is null", f"{schema}.ranges"):
        return None
    done: int = await connection.fetchval(f"select count(*) from {schema}.ranges")  # noqa: S608
    return done


@pytest.mark.parametrize(
    "change",
    [
        "update {}.ranges set dropped = '{{3}}'",
        "update {}.ranges set high = high + 1",
        "update {}.ranges set seen_at = seen_at - interval '1 second'",
    ],
    ids=["an event dropped since", "other ranges", "another log"],
)
async def test_ranges_of_another_kind_are_folded_anew(year: str, long: Any, change: str) -> None:
    """Parts that pass over other events, are cut elsewhere, or come from a log that went back are never merged."""
    hours = BY_NAME["hours"]
    rebuild = Rebuild(year, hours, REGISTRY, pace=PACE, report=_stop_after(4))
    await rebuild.prepare()
    with pytest.raises(Stopped):
        await rebuild.catch_up()
    assert await ranges_done(long, hours.next_schema) == 4
    await long.execute(change.format(hours.next_schema))
    await long.execute(f"update {hours.next_schema}.part_hours set ship = 999")  # noqa: S608
    rebuild = Rebuild(year, hours, REGISTRY, pace=PACE)
    assert await rebuild.prepare() is True
    await rebuild.catch_up()
    assert (await rebuild.compare()).tables == []
    await rebuild.abandon()


@pytest.mark.parametrize("windows", [RANGES - 2, 1], ids=["fewer ranges", "no ranges"])
async def test_ranges_of_a_view_that_was_further_are_folded_anew(year: str, long: Any, windows: int) -> None:
    """A live view that was made anew since is short of where they end: nothing beyond its position comes into the tables."""
    for projection in IN_RANGES:
        live = f"{projection.schema}.checkpoint"
        rebuild = Rebuild(year, projection, REGISTRY, pace=PACE, report=_stop_after(RANGES))
        await rebuild.prepare()
        with pytest.raises(Stopped):
            await rebuild.catch_up()
        at = await long.fetchval(f"select position from {live}")  # noqa: S608
        await long.execute(f"update {live} set position = $1", windows * PACE.window)  # noqa: S608
        rebuild = Rebuild(year, projection, REGISTRY, pace=PACE)
        assert await rebuild.prepare() is True
        await rebuild.catch_up()
        await long.execute(f"update {live} set position = $1", at)  # noqa: S608
        assert await long.fetchval(PARTS) == 0
        await rebuild.catch_up()
        assert (await rebuild.compare()).tables == []
        await rebuild.abandon()


def _stop_after(ranges: int) -> Any:
    def report(progress: Progress) -> None:
        if progress.position >= ranges * PACE.window:
            raise Stopped

    return report


async def test_an_event_that_fails_is_found_by_windows(
    dsn: str, connection: Any, committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    """Ranges know no event by itself: one that can't be folded halts the rebuild at its position, as a window's does."""
    await add_three_tools(committer)
    await History(committer).do([("vote", voter, 0, "ship") for voter in VOTERS])
    await catch_up_all(dsn)
    bad = await connection.fetchval(APPEND_UNKNOWN)
    await History(committer).do([("vote", voter, 1, "ship") for voter in VOTERS])
    for projection in IN_RANGES:
        await connection.execute(f"update {projection.schema}.checkpoint set position = (select position from log.head)")  # noqa: S608
        rebuild = Rebuild(dsn, projection, REGISTRY, pace=Pace(pause=0, window=2, nearly=0), jobs=Jobs(2))
        await rebuild.prepare()
        with pytest.raises(Halted) as halted:
            await rebuild.catch_up()
        assert halted.value.position == bad
        assert f"the ranges of {projection.name} are given up for windows" in caplog.text
        caplog.clear()
        assert await connection.fetchval(PARTS) == 0
        await rebuild.abandon()


async def test_verify_by_ranges_leaves_nothing(year: str, long: Any) -> None:
    """A verify by several jobs finds a wrong row, and its parts are gone with it; those of a killed one go with the next."""
    await long.execute("create schema hours_5_parts_99; create table hours_5_parts_99.ranges ()")
    wrong = "update {}.days set ship = ship {} 1 where day = (select min(day) from {}.days)"
    hours = BY_NAME["hours"]
    await long.execute(wrong.format(hours.schema, "+", hours.schema))
    found = await verify(year, hours, REGISTRY, SOURCES, jobs=Jobs(3), window=PACE.window)
    assert [(table.table, {*table.rows[0].key}) for table in found.tables] == [("days", {"tool", "day"})]
    await long.execute(wrong.format(hours.schema, "-", hours.schema))
    for projection in IN_RANGES:
        assert (await verify(year, projection, REGISTRY, SOURCES, jobs=Jobs(2), window=PACE.window)).tables == []
    assert await long.fetchval(SCRATCH) == 0


async def test_two_comparisons_at_once_keep_their_parts_apart(year: str, long: Any) -> None:
    """Each has a schema of its own, which the other leaves alone while it is at work."""
    cards = BY_NAME["cards"]
    pairs = (verify(year, cards, REGISTRY, SOURCES, jobs=Jobs(2), window=PACE.window) for _ in range(3))
    assert [found.tables for found in await ranges.side_by_side(*pairs)] == [[], [], []]
    assert await long.fetchval(SCRATCH) == 0


async def test_a_view_that_is_behind_is_folded_no_further(dsn: str, connection: Any, committer: Committer) -> None:
    """Ranges end below the live view's position, as windows do."""
    await add_three_tools(committer)
    await History(committer).do([("vote", voter, 0, "ship") for voter in VOTERS])
    cards = BY_NAME["cards"]
    await catch_up(dsn, cards)
    await History(committer, 1_000).do([("vote", voter, 1, "skip") for voter in VOTERS])
    rebuild = Rebuild(dsn, cards, REGISTRY, pace=Pace(pause=0, window=2, nearly=0), jobs=Jobs(2))
    await rebuild.prepare()
    await rebuild.catch_up()
    assert await connection.fetchval("select position from cards_4_next.checkpoint") == 3 + len(VOTERS)
    assert (await rebuild.compare()).tables == []
