"""What the correction of very many voters promises: whole or not at all, once, and right about votes that come meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from events.ballots import VoteCast, stream
from events.commands import voters
from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.commands.voters import CorrectVoters
from events.log.command import Decision, Seen
from events.log.committer import Committer
from events.voters import CorrectionRecorded, VoterUnknown
from projections.cards import tallies_at_head
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append

SHIPS = 5
SKIPS = 2


@pytest.fixture
async def cohort(committer: Committer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Voters of the tool `a`, more than are corrected while all others wait.

    The last of them voted on `b` too, and somebody else on `a`.
    """
    monkeypatch.setattr(voters, "FEW", 3)
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


async def test_very_many_voters_are_one_correction(committer: Committer, connection: Any, cohort: list[str]) -> None:
    """The dry run, the correction and the way back name all voters, each once, and one correction each, in one batch."""
    dry = await committer.submit(command(cohort, dry=True))
    assert dry.appended == 0
    real = await committer.submit(command(cohort))
    changes = sorted([((SHIPS + 1, SKIPS), (1, 0)), ((1, 0), (0, 0))])
    assert told(dry.value) == told(real.value) == ("disqualified", SHIPS + SKIPS, SHIPS + SKIPS + 1, changes)
    back = await committer.submit(command(cohort, reinstate=True))
    assert told(back.value) == ("reinstated", SHIPS + SKIPS, SHIPS + SKIPS + 1, sorted((b, a) for a, b in changes))
    again = await committer.submit(command(cohort, reinstate=True))
    assert (again.value, again.appended) == (None, 0)
    batches = await connection.fetch(
        "select array_agg(type order by position) from log.events where type ~ '^Voter|Corr|Ballots'"
        " group by recorded_at order by 1"
    )
    count = SHIPS + SKIPS
    assert [row[0] for row in batches] == [
        ["VoterDisqualified"] * count + ["BallotsVoided", "CorrectionRecorded"],
        ["VoterReinstated"] * count + ["BallotsRestored", "CorrectionRecorded"],
    ]  # fmt: skip


class Overtaken(CorrectVoters, frozen=True, kw_only=True):
    """A correction in whose first decision others vote."""

    others: list[Callable[[], object]]

    def decide(self, seen: Seen) -> Decision[CorrectionRecorded | None]:
        if self.others:
            self.others.pop()()
        return super().decide(seen)


@pytest.mark.parametrize("whose", ["of the cohort", "of others"])
async def test_votes_during_the_correction_of_very_many_count(committer: Committer, cohort: list[str], whose: str) -> None:
    """A vote that comes after the decision is taken away too if it is one of the cohort's, and else stands in the tallies."""
    loop = asyncio.get_running_loop()
    voter = cohort[0] if whose == "of the cohort" else new_id()

    async def vote() -> None:
        await committer.submit(CastVote(voter, "b", "skip"))

    others = [lambda: asyncio.run_coroutine_threadsafe(vote(), loop).result(10)]
    plain = command(cohort)
    correction = Overtaken(
        plain.correction, plain.voters, plain.reason, plain.tallies, plain.reinstate, plain.operator, others=others
    )
    receipt = await committer.submit(correction)
    mine = whose == "of the cohort"
    changes = sorted([((SHIPS + 1, SKIPS), (1, 0)), ((1, 1), (0, 0) if mine else (0, 1))])
    assert others == [] and told(receipt.value) == ("disqualified", SHIPS + SKIPS, SHIPS + SKIPS + (2 if mine else 1), changes)


async def test_thousands_of_voters_are_corrected(committer: Committer, connection: Any) -> None:
    """A cohort beyond what is decided under the lock is one correction, whole, with the tally that the voters leave."""
    tool = (await add_tools(committer, "a"))["a"]
    made = [new_id() for _ in range(3 * voters.FEW)]
    casts = [(stream(voter, tool), VoteCast(voter=voter, tool=tool, choice="ship")) for voter in made]
    await committer.submit(append(*casts))
    receipt = await committer.submit(command(made))
    assert told(receipt.value) == ("disqualified", len(made), len(made), [((len(made), 0), (0, 0))])
    assert await connection.fetchval("select count(*) from log.events where type = 'CorrectionRecorded'") == 1
    assert receipt.position == await connection.fetchval("select position from log.head") == 1 + 2 * len(made) + 2
    assert await named(connection) == [("BallotsVoided", [*range(2, len(made) + 2)])]


async def named(connection: Any) -> list[tuple[str, list[int]]]:
    """Return what the log says of ballots, in order."""
    rows = await connection.fetch(
        "select type, array(select jsonb_array_elements_text(data->'ballots')::bigint) as ballots from log.events"
        " where type in ('BallotsVoided', 'BallotsRestored') order by position"
    )
    return [(row["type"], row["ballots"]) for row in rows]


async def test_a_correction_names_retracted_ballots_too(committer: Committer, connection: Any) -> None:
    """The last event of every ballot of the voters is named, and no other: changed, retracted, none of somebody else's."""
    await add_tools(committer, "a", "b", "c")
    ada, bob, eve = (new_id() for _ in range(3))
    for voter, tool, choice in [
        (ada, "a", "ship"), (eve, "a", "ship"), (ada, "a", "skip"), (ada, "b", "ship"), (bob, "c", "skip"), (ada, "b", None),
    ]:  # fmt: skip
        await committer.submit(CastVote(voter, tool, choice))
    await committer.submit(SetBookmark(ada, "c", True))
    await committer.submit(command([ada, bob, ada]))
    await committer.submit(command([ada], reinstate=True))
    assert await named(connection) == [("BallotsVoided", [6, 8, 9]), ("BallotsRestored", [6, 9])]


async def test_a_voter_without_ballots_names_none(committer: Committer, connection: Any) -> None:
    """A correction of somebody who only kept bookmarks names no ballot."""
    await add_tools(committer, "a")
    ada = new_id()
    await committer.submit(SetBookmark(ada, "a", True))
    await committer.submit(command([ada]))
    assert await named(connection) == []


async def test_an_unknown_voter_among_very_many_keeps_all_as_they_are(
    committer: Committer, connection: Any, cohort: list[str]
) -> None:
    """One voter without events refuses the whole."""
    with pytest.raises(VoterUnknown):
        await committer.submit(command([*cohort, new_id()]))
    assert await connection.fetchval("select count(*) from log.events where type = 'VoterDisqualified'") == 0
