"""A part of the log in the archive, beside what else goes on: very busy voters, comparisons, and restores."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log.archive import present, state
from events.log.archive.places import Place, place_of
from events.log.archive.present import Present, unarchive
from events.log.archive.state import ArchiveRefused
from events.log.committer import Committer
from events.log.store import READ_LASTS
from events.registry import REGISTRY
from projections.engine.folding import Jobs
from projections.engine.ranges import side_by_side
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.verdicts import TOGETHER
from services.backup.places import BackupUnusable
from services.backup.restoring import transaction_of
from tests.support.archiving import SIZE, archive
from tests.support.catalogs import new_id
from tests.support.log import patient
from tests.support.runners import catch_up_all


async def test_a_voter_with_many_archived_ballots_decides_on_few_of_them(
    dsn: str, connection: Any, committer: Committer, tmp_path: Path
) -> None:
    """However many ballots one voter has, they lie in small rows, and the last of each stream is found in any of them."""
    voter = new_id()
    for slug in ("one", "two"):
        for number in range(SIZE):
            await committer.submit(CastVote(voter, slug, ("ship", "skip")[number % 2]))
    await catch_up_all(dsn)
    streams = [row["stream"] for row in await connection.fetch("select distinct stream from log.events order by 1")]
    lasts = await connection.fetch(READ_LASTS, streams)
    for part in (2, 3):
        await archive(connection, tmp_path, part)
        assert await connection.fetch(READ_LASTS, streams) == lasts
    owner = await connection.fetchval("select log.first_half(log.uuid_of($1))", voter)
    rows = await connection.fetch("select length(ballots) / 19 as ballots from log.archived_ballots where owner = $1", owner)
    assert max(row["ballots"] for row in rows) == 64 and sum(row["ballots"] for row in rows) > SIZE


async def test_a_comparison_under_way_holds_no_part_back(dsn: str, connection: Any, tmp_path: Path) -> None:
    """The temporary checkpoint of somebody's `verify` is nobody else's to read."""
    other = await asyncpg.connect(dsn)
    await other.execute("create temp table checkpoint as select 5::bigint as position")
    await archive(connection, tmp_path)
    await other.close()


async def test_nothing_is_taken_from_under_a_comparison(dsn: str, connection: Any, tmp_path: Path) -> None:
    """A part that somebody reads isn't taken away: what is packed waits for the next run."""
    async with Present(dsn) as parts, parts.reader() as reader:
        await reader.ensure(0, SIZE)
        with pytest.raises(ArchiveRefused, match=r"for a rebuild or a comparison: wait for it\. Part 0 is packed"):
            await archive(connection, tmp_path)
    assert (await archive(connection, tmp_path)).state == "packed"


@pytest.mark.parametrize("jobs", [1, 2])
async def test_views_go_through_the_parts_together(
    dsn: str, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """Each part is loaded once for all views, never all are here at a time, and the views are found equal."""
    monkeypatch.setattr(present, "PATIENCE", 300.0)  # however busy the machine is
    async with patient(dsn) as committer:
        while await connection.fetchval("select position from log.head") <= 4 * SIZE:
            await asyncio.gather(*(committer.submit(CastVote(new_id(), "one", "ship")) for _ in range(50)))
    await catch_up_all(dsn)
    for part in range(4):
        await archive(connection, tmp_path, part)
    loads: list[str] = []
    most = 0

    def counted(url: str) -> Place:
        loads.append(url)
        return place_of(url)

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, sum(one.state == "loaded" for one in await state.read_all(connection)))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    shared = Jobs(jobs)
    # A range of `integrity` also looks at the last 10,000 positions, in so short a log at archived ones: it begins anew.
    views = [projection for projection in PROJECTIONS if projection.name != "integrity"]
    names = [projection.name for projection in views]
    async with Present(dsn, names, counted) as shared_parts:
        diffs = await side_by_side(
            *(verify(dsn, one, REGISTRY, {}, jobs=shared, window=256, present=shared_parts) for one in views)
        )
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not any(diff.tables for diff in diffs)
    assert len(loads) == 4 and most <= 3
    assert [one.state for one in await state.read_all(connection)] == ["packed"] * 4


async def test_a_restore_goes_to_no_archived_position(dsn: str, connection: Any, tmp_path: Path) -> None:
    """Rows of a part that was archived were written again since: their transaction is no moment to restore to."""
    appended = [await transaction_of(dsn, position) for position in (5, SIZE + 5)]
    await archive(connection, tmp_path)
    await unarchive(connection, 0)
    with pytest.raises(BackupUnusable, match="restore to a time after"):
        await transaction_of(dsn, 5)
    assert await transaction_of(dsn, SIZE + 5) == appended[1]


async def test_what_readers_put_together_is_told_of_what_is_here(
    dsn: str, connection: Any, committer: Committer, tmp_path: Path
) -> None:
    """The sitemap's pairs are those of the newest votes, also where the newest twenty thousand reach into the archive."""
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    for voter in [new_id() for _ in range(60)]:
        await committer.submit(CastVote(voter, "one", "ship"))
        await committer.submit(CastVote(voter, "two", "ship"))
    await catch_up_all(dsn)
    assert [row["name"] for row in await connection.fetch(TOGETHER, 20_000, 20, 60, 10)] == ["one-vs-two"]
