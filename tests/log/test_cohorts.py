"""What the correction of very many voters promises: batches that nobody waits for, and the answer of a single one."""

from typing import Any

import pytest

from events.commands import voters
from events.commands.ballots import CastVote
from events.commands.voters import CorrectVoters, correct_all
from events.log.committer import Committer
from events.voters import CorrectionRecorded, VoterUnknown
from projections.cards import tallies_at_head
from tests.support.catalogs import new_id
from tests.support.log import add_tools

SHIPS = 5
SKIPS = 2


@pytest.fixture
async def cohort(committer: Committer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Voters of the tool `a`, more than are corrected at once; the last of them voted on `b` too, and somebody else on `a`."""
    monkeypatch.setattr(voters, "AT_ONCE", 3)
    await add_tools(committer, "a", "b")
    made = [new_id() for _ in range(SHIPS + SKIPS)]
    for n, voter in enumerate(made):
        await committer.submit(CastVote(voter, "a", "ship" if n < SHIPS else "skip"))
    await committer.submit(CastVote(made[-1], "b", "ship"))
    await committer.submit(CastVote(new_id(), "a", "ship"))
    return made


def command(cohort: list[str], *, reinstate: bool = False, dry: bool = False) -> CorrectVoters:
    return CorrectVoters(new_id(), cohort, "a farm", tallies_at_head, reinstate=reinstate, operator="op", dry=dry)


def told(correction: CorrectionRecorded | None) -> tuple[Any, ...]:
    """Return what a correction comes to, but for its id."""
    assert correction is not None
    changes = sorted((tool.before, tool.after) for tool in correction.tools)
    return correction.action, correction.voters, correction.votes, changes


async def test_very_many_voters_are_corrected_in_small_batches(
    committer: Committer, connection: Any, cohort: list[str]
) -> None:
    """The dry run, the correction and the way back answer as one of all voters would; no batch is large."""
    dry = await correct_all(committer.submit, command(cohort, dry=True), new_id)
    assert dry.appended == 0
    real = await correct_all(committer.submit, command(cohort), new_id)
    changes = sorted([((SHIPS + 1, SKIPS), (1, 0)), ((1, 0), (0, 0))])
    assert told(dry.value) == told(real.value) == ("disqualified", SHIPS + SKIPS, SHIPS + SKIPS + 1, changes)
    largest = "select max(n) from (select count(*) as n from log.events where type ~ 'Voter' group by recorded_at) batch"
    assert await connection.fetchval(largest) <= voters.AT_ONCE
    back = await correct_all(committer.submit, command(cohort, reinstate=True), new_id)
    assert told(back.value) == ("reinstated", SHIPS + SKIPS, SHIPS + SKIPS + 1, sorted((b, a) for a, b in changes))
    again = await correct_all(committer.submit, command(cohort, reinstate=True), new_id)
    assert (again.value, again.appended) == (None, 0)


async def test_an_unknown_voter_among_very_many_keeps_all_as_they_are(
    committer: Committer, connection: Any, cohort: list[str]
) -> None:
    """All parts are looked at before the first is corrected."""
    with pytest.raises(VoterUnknown):
        await correct_all(committer.submit, command([*cohort, new_id()]), new_id)
    assert await connection.fetchval("select count(*) from log.events where type = 'VoterDisqualified'") == 0
