"""A part of the log in the archive, beside what else goes on: very busy voters, comparisons, and restores."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log.archive.present import unarchive
from events.log.committer import Committer
from events.log.store import READ_LASTS
from services.backup.places import BackupUnusable
from services.backup.restoring import transaction_of
from tests.support.archiving import SIZE, archive
from tests.support.catalogs import new_id
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


async def test_a_restore_goes_to_no_archived_position(dsn: str, connection: Any, tmp_path: Path) -> None:
    """Rows of a part that was archived were written again since: their transaction is no moment to restore to."""
    appended = [await transaction_of(dsn, position) for position in (5, SIZE + 5)]
    await archive(connection, tmp_path)
    await unarchive(connection, 0)
    with pytest.raises(BackupUnusable, match="restore to a time after"):
        await transaction_of(dsn, 5)
    assert await transaction_of(dsn, SIZE + 5) == appended[1]
