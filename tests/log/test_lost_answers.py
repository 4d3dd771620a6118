"""A lone vote is one statement, which commits by itself: what a broken way to the server leaves of it."""

import os
from collections import Counter
from typing import Any, get_args

import pytest

from events.commands.ballots import CastVote
from events.log import conditional
from events.log.committer import Committer, LogUnavailable
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.cut import Moment, way_to
from tests.support.log import add_tools, patient

TIMES = int(os.environ.get("BALLOTPRESS_TEST_CUTS", "24"))


async def _vote(committer: Committer, voter: str) -> int:
    """Ask until there is an answer, as a caller without a key does; return how often it took."""
    for asked in range(1, 50):
        try:
            await committer.submit(CastVote(voter, "a", "ship"))
        except LogUnavailable:
            continue
        return asked
    raise AssertionError("the log does not come back")


@pytest.mark.parametrize("moment", get_args(Moment))
async def test_a_way_that_breaks_loses_and_doubles_nothing(
    moment: Moment, dsn: str, postgres: servers.Postgres, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the way breaks, the caller hears that the vote may be recorded, and the same vote once more is one event."""
    ended: Counter[str] = Counter()
    real = conditional.append

    async def noting(*arguments: Any) -> Any:
        try:
            return await real(*arguments)
        except Exception as error:
            ended[type(error).__name__] += 1
            raise

    monkeypatch.setattr(conditional, "append", noting)
    async with way_to(dsn, postgres.folder) as (way, through), patient(through) as committer:
        await add_tools(committer, "a")
        people = [new_id() for _ in range(TIMES // 3)]
        for voter in people:
            await _vote(committer, new_id())
            way.breaks = moment
            assert await _vote(committer, voter) == 2
            assert way.breaks is None
    del ended["NeedsLock"]
    assert sum(ended.values()) == len(people), "the way broke elsewhere than in a conditional append"
    cast = await connection.fetch("select data->>'voter' as voter, version from log.events where type = 'VoteCast'")
    assert len(cast) == 2 * len(people)
    assert {(voter, 1) for voter in people} <= {tuple(row) for row in cast}
    positions = [row["position"] for row in await connection.fetch("select position from log.events order by position")]
    assert positions == list(range(1, len(positions) + 1))
