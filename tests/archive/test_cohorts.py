"""Decisions on cohorts whose votes are old: a void is undone without a file, and one that goes on keeps its votes here."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.integrity import Judgement, Ruling
from services.integrity import decisions, queue
from services.integrity.cohorts import Cohort
from tests.support.archiving import archive
from tests.support.catalogs import new_id
from tests.support.cohorts import cast, out, suspect
from tests.support.log import add_tools, patient
from tests.support.parts import make_small
from tests.support.runners import catch_up_all
from tests.support.shell import Shell
from tests.support.survival import Place

SIZE = 50
VOTERS = 60


@pytest.fixture
async def dsn(place: Place) -> AsyncIterator[str]:
    """A log in small parts, nearly all of it votes of a farm; one of its voters takes its vote back, and some are honest."""
    async with place.database() as dsn:
        connection = await asyncpg.connect(dsn)
        await make_small(connection, SIZE)
        async with patient(dsn) as committer:
            tools = await add_tools(committer, "a", "b")
            voters = await cast(committer, tools["a"], "ship", VOTERS)
            await committer.submit(CastVote(voters[0], "a", None))
            await cast(committer, tools["b"], "ship", 2 * SIZE)
        await catch_up_all(dsn)
        await suspect(connection, tools["a"])
        await connection.execute("update integrity.scans set scanned_to = now()")
        await connection.close()
        yield dsn


@pytest.fixture
async def cohort(connection: Any) -> Cohort:
    """The farm, as found."""
    found = await queue.read(connection, await connection.fetchval("select id from integrity.cohorts"))
    assert found is not None
    return found.cohort


async def decide(dsn: str, connection: Any, cohort: Cohort, decision: Judgement, *, carries: bool = True) -> None:
    """Decide on a cohort, and carry that out unless told otherwise."""
    async with patient(dsn) as committer:
        await decisions.decide(connection, committer, cohort.id, Ruling(decision, "one hand", "ada", new_id(), 0))
        if carries:
            await decisions.carry_out(dsn, committer, cohort.id)
    await catch_up_all(dsn)


async def test_a_void_of_archived_votes_is_undone(dsn: str, connection: Any, cohort: Cohort, tmp_path: Path) -> None:
    """Whoever a void took out is back once it is undone, though the votes have left for the archive since."""
    await decide(dsn, connection, cohort, "void")
    rows = await connection.fetch("select data->>'voter' as voter from log.events where type = 'VoterDisqualified'")
    assert len(rows) == VOTERS - 1
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    await decide(dsn, connection, cohort, "undo")
    assert await out(connection, [row["voter"] for row in rows]) == set()
    found = await queue.read(connection, cohort.id)
    assert found is not None and found.status == "waiting"


async def test_a_void_that_goes_on_keeps_its_votes(
    dsn: str, connection: Any, cohort: Cohort, tmp_path: Path, shell: Shell
) -> None:
    """A part isn't archived while a void looks for its voters there; afterwards it is."""
    archiving = ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young")
    await decide(dsn, connection, cohort, "void", carries=False)
    shell(*archiving).failed(f"The void of cohort {cohort.id} has come to position", "wait until it is carried out")
    assert await decisions.resume(dsn) == 1
    await catch_up_all(dsn)
    shell(*archiving, status=0)
