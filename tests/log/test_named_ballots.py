"""Corrections of a log that an older release wrote: `migrate` names their ballots, once, for those that are still in force."""

import asyncio
from typing import Any

import pytest

from events.commands import voters
from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.commands.voters import CorrectVoters
from events.log.committer import Committer
from events.registry import REGISTRY
from projections.cards import tallies_at_head
from services.migrate import migrate, name_ballots
from tests.support.catalogs import new_id
from tests.support.log import add_tools

FORGET = """
alter table log.events disable trigger events_append_only;
update log.events set type = 'ToolBookmarked', data = '{"visitor": "v", "tool": "t"}', stream = gen_random_uuid(), version = 1
where type in ('BallotsVoided', 'BallotsRestored');
alter table log.events enable trigger events_append_only;
"""
"""Makes a log as an older release left it, as only a test's superuser can: its positions stay."""

NAMED = """
select data->>'correction' as correction, array(select jsonb_array_elements_text(data->'ballots')::bigint) as ballots
from log.events where type = 'BallotsVoided' order by position
"""


async def correct(committer: Committer, *who: str, reinstate: bool = False, of: str | None = None) -> str:
    """Disqualify or reinstate voters; return the correction."""
    correction = new_id()
    await committer.submit(CorrectVoters(correction, who, "why", tallies_at_head, reinstate=reinstate, operator="op", of=of))
    return correction


@pytest.fixture
async def older(committer: Committer, connection: Any) -> dict[str, list[int]]:
    """An older log; return what is to be named, by correction: the ballots of voters who are out, retracted ones too."""
    await add_tools(committer, "a", "b")
    ada, bob, eve, dan, kim = (new_id() for _ in range(5))
    for voter in (ada, bob, eve, dan):
        await committer.submit(CastVote(voter, "a", "ship"))  # positions 3 to 6
    await committer.submit(CastVote(ada, "b", "skip"))
    await committer.submit(CastVote(ada, "b", None))
    await committer.submit(SetBookmark(kim, "a", True))
    both = await correct(committer, ada, bob)
    await correct(committer, bob, reinstate=True)
    await correct(committer, dan)
    await correct(committer, dan, reinstate=True)
    again = await correct(committer, dan)
    held = await correct(committer, eve, of=new_id())
    await correct(committer, eve)  # by name as well: its ballots are gone with the cohort's already
    await correct(committer, kim)
    await connection.execute(FORGET)
    return {both: [3, 8], again: [6], held: [5]}


async def named(connection: Any) -> dict[str, list[int]]:
    return {row["correction"]: row["ballots"] for row in await connection.fetch(NAMED)}


@pytest.mark.parametrize("few", [0, 1_000])
async def test_the_ballots_of_older_corrections_are_named(
    dsn: str, connection: Any, older: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Each correction in force gets one event; a second run appends nothing, nor does one that doubts how far the first got."""
    monkeypatch.setattr(voters, "FEW", few)
    assert await migrate(dsn) == 0
    assert await named(connection) == older
    head = await connection.fetchval("select position from log.head")
    await migrate(dsn)
    await connection.execute("update log.named_ballots set through = 0")
    assert await name_ballots(dsn, connection) == 0
    assert await connection.fetchval("select position from log.head") == head


async def test_several_at_once_name_each_ballot_once(dsn: str, connection: Any, older: dict[str, list[int]]) -> None:
    """Processes that migrate at the same time come to the same, once."""
    await asyncio.gather(*(migrate(dsn) for _ in range(4)))
    assert await named(connection) == older
    assert len(await connection.fetch(NAMED)) == len(older)


async def test_what_was_cut_short_goes_on(dsn: str, connection: Any, older: dict[str, list[int]]) -> None:
    """After a kill between two corrections the rest is named, and what was named is not named again."""
    (row,) = await connection.fetch(
        "select e.data->>'correction' as correction, array_agg(e.data->>'voter') as voters from log.events e"
        " where e.type = 'VoterDisqualified' and e.data->>'correction' = $1 group by 1",
        next(iter(older)),
    )
    async with Committer(dsn, REGISTRY) as committer:
        await committer.submit(voters.NameBallots(correction=row["correction"], voters=sorted(row["voters"])))
    assert await named(connection) == {row["correction"]: older[row["correction"]]}
    await migrate(dsn)
    assert await named(connection) == older
    assert len(await connection.fetch(NAMED)) == len(older)


async def test_a_present_log_has_nothing_to_name(dsn: str, connection: Any, committer: Committer) -> None:
    """What this release records names its ballots itself."""
    await add_tools(committer, "a")
    ada = new_id()
    await committer.submit(CastVote(ada, "a", "ship"))
    await correct(committer, ada)
    head = await connection.fetchval("select position from log.head")
    await migrate(dsn)
    assert await connection.fetchval("select position from log.head") == head
    assert await connection.fetchval("select through from log.named_ballots") == head
