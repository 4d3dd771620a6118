"""What decisions on cohorts promise: carried out whole whatever happens meanwhile, one public correction, undone exactly."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.commands.erasure import EraseVisitor
from events.commands.integrity import CohortState
from events.commands.voters import CorrectVoters
from events.integrity import CohortChanged, CohortHeld, CohortUnknown, Judgement, Ruling, Status
from events.log.command import Receipt
from events.log.committer import Committer
from projections import corrections
from projections.cards import tallies_at_head
from services.integrity import decisions, queue
from services.integrity.cohorts import Cohort
from tests.support.catalogs import new_id
from tests.support.cohorts import cast, out, suspect
from tests.support.log import add_tools
from tests.support.processes import PATIENCE, start
from tests.support.runners import catch_up_all
from tests.support.settings import environ
from tests.support.survival import BOTH_WAYS

VOTERS = int(os.environ.get("BALLOTPRESS_VOIDED", "60"))

Decide = Callable[..., Awaitable[Receipt[CohortState]]]


@pytest.fixture
async def tools(committer: Committer) -> dict[str, str]:
    """Two tools."""
    return await add_tools(committer, "a", "b")


@pytest.fixture
async def voters(committer: Committer, tools: dict[str, str]) -> list[str]:
    """Voters of a farm, for the tool `a`; the first has voted on `b` too."""
    made = await cast(committer, tools["a"], "ship", VOTERS)
    await committer.submit(CastVote(made[0], "b", "skip"))
    return made


@pytest.fixture
async def cohort(dsn: str, connection: Any, tools: dict[str, str], voters: list[str]) -> Cohort:
    """The farm, as found."""
    await catch_up_all(dsn)
    return await suspect(connection, tools["a"])


@pytest.fixture
async def decide(dsn: str, committer: Committer) -> AsyncIterator[Decide]:
    """Decide on a cohort, and carry that out unless told otherwise."""
    pool = await asyncpg.create_pool(dsn, min_size=1)

    async def made(
        cohort: str, decision: Judgement, by: str = "ada", *, alone: int = 0, carries: bool = True, **more: Any
    ) -> Receipt[CohortState]:
        asked = Ruling(decision, "one hand", by, new_id(), alone)
        receipt = await decisions.decide(pool, committer, cohort, asked, **more)
        if carries:
            await decisions.carry_out(dsn, committer, cohort)
        return receipt

    yield made
    await pool.close()


async def corrected(dsn: str, connection: Any) -> Sequence[corrections.Correction]:
    """Return the public corrections, newest first."""
    await catch_up_all(dsn)
    return await corrections.corrections(connection, None, 100)


async def status(connection: Any, cohort: Cohort) -> Status:
    found = await queue.read(connection, cohort.id)
    assert found is not None
    return found.status


async def test_a_void_in_batches_is_one_correction(
    dsn: str, connection: Any, cohort: Cohort, voters: list[str], decide: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All voters whose vote stands are out, with every ballot of theirs, and the public reads of one correction."""
    monkeypatch.setattr(decisions, "MOST", 20)
    await decide(cohort.id, "void")
    assert await out(connection, voters) == set(voters)
    parts = await connection.fetchval("select count(*) from log.events where type = 'CorrectionRecorded'")
    assert parts >= 2 * VOTERS // 20
    (one,) = await corrected(dsn, connection)
    assert (one.action, one.reason, one.voters, one.votes) == ("disqualified", "one hand", VOTERS, VOTERS + 1)
    assert [(tool.slug, tool.before, tool.after) for tool in one.tools] == [("a", (VOTERS, 0), (0, 0)), ("b", (0, 1), (0, 0))]
    assert await status(connection, cohort) == "voided"


async def test_an_undo_gives_everything_back(
    dsn: str, connection: Any, cohort: Cohort, voters: list[str], tools: dict[str, str], decide: Decide
) -> None:
    """The tallies are what they were, as one more public correction, and the cohort waits."""
    await decide(cohort.id, "void")
    await decide(cohort.id, "undo", "bob")
    assert await out(connection, voters) == set()
    assert await tallies_at_head(connection, [*tools.values()]) == {tools["a"]: (VOTERS, 0), tools["b"]: (0, 1)}
    back, gone = await corrected(dsn, connection)
    assert (back.action, back.voters, back.votes) == ("reinstated", gone.voters, gone.votes)
    assert await status(connection, cohort) == "waiting"


async def test_a_voter_who_changed_its_mind_is_no_part(
    connection: Any, committer: Committer, cohort: Cohort, voters: list[str], decide: Decide
) -> None:
    """Only votes that still stand in the cohort are voided: who retracted or changed sides since keeps its votes."""
    await committer.submit(CastVote(voters[1], "a", None))
    await committer.submit(CastVote(voters[2], "a", "skip"))
    await decide(cohort.id, "void")
    assert await out(connection, voters) == set(voters) - {voters[1], voters[2]}


@BOTH_WAYS
async def test_a_killed_void_is_taken_up_where_it_stopped(
    dsn: str, valkey_url: str, connection: Any, cohort: Cohort, voters: list[str]
) -> None:
    """Killed in the middle, a void is visibly half done; another process ends it, and nobody is disqualified twice."""
    code = "from services.integrity import decisions; decisions.MOST = 8; from services.cli import main; main()"
    words = ("integrity", "void", cohort.id, "--reason", "one hand")
    process = start((sys.executable, "-c", code, *words), environ(dsn, valkey_url, BALLOTPRESS_SECOND_OPERATOR_ABOVE="0"))
    count = "select count(*) from log.events where type = 'VoterDisqualified'"
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(count):
            await asyncio.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await catch_up_all(dsn)
    half = await queue.read(connection, cohort.id)
    assert half is not None and half.status == "voiding" and half.voters == VOTERS
    assert 0 < half.corrected == await connection.fetchval(count) < VOTERS
    assert await decisions.resume(dsn) == 1
    assert await out(connection, voters) == set(voters) and await connection.fetchval(count) == VOTERS
    (one,) = await corrected(dsn, connection)
    assert one.voters == VOTERS and await status(connection, cohort) == "voided"
    assert await decisions.resume(dsn) == 0


@pytest.mark.parametrize("when", ["while the void goes on", "after a part of it"])
async def test_a_void_half_done_is_undone_whole(
    dsn: str, connection: Any, committer: Committer, cohort: Cohort, voters: list[str], decide: Decide, when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An undo stops the void that goes on, and reinstates those whom it had reached; nobody stays out."""
    monkeypatch.setattr(decisions, "MOST", 8)
    await decide(cohort.id, "void", carries=False)
    undone: list[Any] = []

    def report(done: int, of: int) -> None:
        if done >= of // 2 and not undone:
            undone.append(asyncio.ensure_future(decide(cohort.id, "undo", "bob", carries=False)))

    running = asyncio.ensure_future(decisions.carry_out(dsn, committer, cohort.id, report))
    if when == "after a part of it":
        await asyncio.wait([running], timeout=PATIENCE)
    await running
    await asyncio.gather(*undone)
    await decisions.carry_out(dsn, committer, cohort.id)
    assert await out(connection, voters) == set()
    back, gone = await corrected(dsn, connection)
    assert 0 < gone.voters == back.voters < VOTERS
    assert await status(connection, cohort) == "waiting"


async def test_an_erased_voter_is_undone_like_the_others(
    connection: Any, committer: Committer, cohort: Cohort, voters: list[str], tools: dict[str, str], decide: Decide
) -> None:
    """Whoever erases itself before a void, or between a void and its undo, has its votes taken out and given back."""
    await committer.submit(EraseVisitor(voters[0]))
    await decide(cohort.id, "void")
    await committer.submit(EraseVisitor(voters[1]))
    assert await out(connection, voters) == set(voters)
    await decide(cohort.id, "undo")
    assert await out(connection, voters) == set()
    assert (await tallies_at_head(connection, [tools["a"]]))[tools["a"]] == (VOTERS, 0)


@pytest.mark.parametrize("when", ["before", "between", "since, after a reinstatement"])
async def test_an_undo_leaves_out_whom_another_correction_disqualified(
    dsn: str, connection: Any, committer: Committer, cohort: Cohort, voters: list[str], decide: Decide, when: str
) -> None:
    """Whoever an operator has disqualified by name stays out, before the void or after it, until reinstated by name."""

    async def correct(*, reinstate: bool) -> None:
        await committer.submit(
            CorrectVoters(new_id(), voters[:2], "by name", tallies_at_head, reinstate=reinstate, operator="bob")
        )

    if when == "before":
        await correct(reinstate=False)
    await decide(cohort.id, "void")
    if when == "since, after a reinstatement":
        await correct(reinstate=True)
    if when != "before":
        await correct(reinstate=False)
    await decide(cohort.id, "undo")
    assert await out(connection, voters) == set(voters[:2])
    await correct(reinstate=True)
    assert await out(connection, voters) == set()
    assert sum(one.votes * (1 if one.action == "reinstated" else -1) for one in await corrected(dsn, connection)) == 0


async def test_an_undo_leaves_out_whom_another_void_holds(
    dsn: str, connection: Any, committer: Committer, cohort: Cohort, voters: list[str], tools: dict[str, str], decide: Decide
) -> None:
    """A voter of two voided cohorts comes back when both are undone, in whichever order, and not before."""
    await catch_up_all(dsn)
    other = await suspect(connection, tools["b"], "skip")  # the first voter alone
    await decide(cohort.id, "void")
    await decide(other.id, "void")
    await decide(cohort.id, "undo")
    assert await out(connection, voters) == {voters[0]}
    await decide(other.id, "undo")
    assert await out(connection, voters) == set()


async def test_a_double_submit_and_two_operators_at_once_decide_once(
    connection: Any, cohort: Cohort, voters: list[str], decide: Decide
) -> None:
    """The same decision twice at once is one; of two different ones on the same revision, the later is refused."""
    twice = await asyncio.gather(*(decide(cohort.id, "void", carries=False, revision=1) for _ in range(2)))
    assert sorted(receipt.appended for receipt in twice) == [0, 1]
    await decide(cohort.id, "undo")
    seen = await queue.read(connection, cohort.id)
    assert seen is not None
    version = await connection.fetchval("select count(*) from log.events where type ~ '^Cohort'")
    revision = 1 + version
    both = await asyncio.gather(
        decide(cohort.id, "dismiss", "ada", revision=revision, carries=False),
        decide(cohort.id, "void", "bob", revision=revision, carries=False),
        return_exceptions=True,
    )
    assert sorted(isinstance(one, CohortChanged | CohortHeld) for one in both) == [False, True]


async def test_a_cohort_that_changed_since_is_refused(
    connection: Any, committer: Committer, dsn: str, cohort: Cohort, tools: dict[str, str], decide: Decide
) -> None:
    """A decision about an earlier revision is refused, with the present one; a cohort that nobody found is unknown."""
    await cast(committer, tools["a"], "ship", 3)
    await catch_up_all(dsn)
    grown = await suspect(connection, tools["a"], id_=cohort.id)
    assert grown.votes == cohort.votes + 3
    with pytest.raises(CohortChanged) as refused:
        await decide(cohort.id, "void", revision=1)
    assert refused.value.revision == 2
    await decide(cohort.id, "void", revision=2)
    with pytest.raises(CohortUnknown):
        await decide(new_id(), "void")
    with pytest.raises(CohortUnknown):
        await decide(new_id(), "undo")


async def test_a_voided_cohort_that_grows_waits_and_is_undone_whole(
    dsn: str, connection: Any, committer: Committer, cohort: Cohort, voters: list[str], tools: dict[str, str], decide: Decide
) -> None:
    """Its new votes wait for a decision of their own; the undo of the second void gives the first one's back as well."""
    await decide(cohort.id, "void")
    more = await cast(committer, tools["a"], "ship", 3)
    await catch_up_all(dsn)
    await suspect(connection, tools["a"], id_=cohort.id)
    assert await status(connection, cohort) == "waiting"
    await decide(cohort.id, "void")
    assert await out(connection, [*voters, *more]) == {*voters, *more}
    await decide(cohort.id, "undo")
    assert await out(connection, [*voters, *more]) == set()
