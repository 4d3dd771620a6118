"""A part changes places with what stays of it while somebody is about to read the log: nobody takes its ballots for missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log.archive.present import load
from events.log.committer import Committer
from events.log.history import HOLDS
from events.log.store import READ_LASTS
from events.registry import REGISTRY
from tests.support.archiving import archive
from tests.support.catalogs import new_id
from tests.support.processes import PATIENCE
from tests.support.shell import Shell

LAST = """
select b.position, b.recorded_at, b.stream, b.version,
       b.data->>'voter' as voter, b.data->>'choice' as choice, t.data->>'slug' as slug
from log.events_0 b join log.events t on t.type = 'ToolAdded' and t.data->>'tool' = b.data->>'tool'
where b.type = 'VoteCast' and not exists (select from log.events n where n.stream = b.stream and n.version > b.version)
order by b.position desc limit 1
"""
WAITING = "select count(*) from pg_locks where not granted and relation = 'log.events'::regclass"


@asynccontextmanager
async def giving_back(dsn: str) -> AsyncIterator[Any]:
    """Hold the moment in which part 0 leaves, until somebody waits for it at the end of the block."""
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("select log.swap_part(0, 'events_0_kept', 'events_0_gone', 'packed')")
        yield
        async with asyncio.timeout(PATIENCE):
            while not await connection.fetchval(WAITING):
                await asyncio.sleep(0.01)
    await connection.close()


@pytest.fixture
async def last(connection: Any, tmp_path: Path) -> Any:
    """Return the last ballot of a stream of part 0, which is archived and loaded."""
    row = await connection.fetchrow(LAST)
    await archive(connection, tmp_path)
    await load(connection, 0)
    return row


@pytest.mark.parametrize("without_lock", [True, False])
@pytest.mark.parametrize("others", [0, 40])
async def test_a_vote_knows_the_one_before(dsn: str, connection: Any, last: Any, without_lock: bool, others: int) -> None:
    """A vote that waits for a part to leave takes the place of the voter's archived ballot, by a guess as under the lock."""
    async with Committer(dsn, REGISTRY, patience=PATIENCE, without_lock=without_lock) as committer:
        await committer.submit(CastVote(new_id(), last["slug"], "ship"))
        async with giving_back(dsn):
            changed = committer.submit(CastVote(last["voter"], last["slug"], "skip" if last["choice"] == "ship" else "ship"))
            new = [committer.submit(CastVote(new_id(), last["slug"], "ship")) for _ in range(others)]
        receipt = await changed
        await asyncio.gather(*new)
    assert receipt.value.previous == last["choice"]
    ((version,),) = await connection.fetch("select version from log.events where stream = $1", last["stream"])
    assert version == last["version"] + 1


async def test_whoever_reads_a_last_event_finds_it(dsn: str, connection: Any, last: Any) -> None:
    """A reader that waits for a part to leave finds the last events of its streams."""
    async with giving_back(dsn):
        reading = asyncio.create_task(connection.fetch(READ_LASTS, [last["stream"]]))
        await asyncio.sleep(0)
    assert [row["version"] for row in await reading] == [last["version"]]


async def test_a_mark_holds_while_its_part_leaves(dsn: str, connection: Any, last: Any) -> None:
    """Nobody who asks for an event while its part leaves is told that the log went back."""
    async with giving_back(dsn):
        asking = asyncio.create_task(connection.fetchval(HOLDS, last["position"], last["recorded_at"], last["stream"]))
        await asyncio.sleep(0)
    assert await asking


async def test_a_time_is_its_position_while_its_part_leaves(dsn: str, connection: Any, last: Any) -> None:
    """A time within a part that leaves is the position that it was."""
    async with giving_back(dsn):
        asking = asyncio.create_task(connection.fetchval("select log.position_at($1)", last["recorded_at"]))
        await asyncio.sleep(0)
    assert await asking >= last["position"]


async def test_what_is_explained_lacks_no_vote_while_its_part_leaves(dsn: str, last: Any, shell: Shell) -> None:
    """Whoever explains a tally while a part leaves is told that its votes are away, and not that the site counts too many."""
    async with giving_back(dsn):
        explaining = asyncio.create_task(asyncio.to_thread(shell, "explain", "tally", last["slug"]))
    (await explaining).failed("events at positions 1 to 200 are in the archive", "ballotpress events unarchive 0")
