"""`ballotpress integrity list|show|void|dismiss|watch|undo`: the queue at a shell."""

from typing import Any

import pytest

from services.integrity.cohorts import Cohort
from tests.support.catalogs import new_id
from tests.support.cohorts import out, suspect
from tests.support.deeds import deeds_of
from tests.support.shell import Follow, Shell, Vote

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def voters(vote: Vote) -> list[str]:
    """Four voters of a farm."""
    return await vote("alpha", ["ship"] * 4)


@pytest.fixture
async def cohort(connection: Any, voters: list[str], follow: Follow) -> Cohort:
    """Their votes, as found."""
    await follow()
    tool = await connection.fetchval("select data->>'tool' from log.events where data->>'slug' = 'alpha'")
    return await suspect(connection, tool)


async def test_a_cohort_is_listed_shown_voided_and_given_back(
    shell: Shell, connection: Any, cohort: Cohort, voters: list[str], follow: Follow
) -> None:
    """Each step says what it did, in words and as JSON, and the next one sees it."""
    listed = shell("integrity", "list").out
    assert listed.startswith(f"{cohort.id}  waiting  revision 1\n  4 ship votes on alpha, ")
    assert "40 ship / 10 skip → 0 ship / 10 skip, changes a settled verdict" in listed
    shown = shell("integrity", "show", cohort.id)
    assert "  4 voters with 4 ballots on 1 tool\n" in shown.out and not any(voter in shown.out for voter in voters)
    assert shell("integrity", "show", cohort.id, "--json").json()["evidence"]["voters"] == 4
    voided = shell("integrity", "void", cohort.id, "--reason", "one hand", "--revision", "1")
    assert voided.out == "Voided: the correction is public at /corrections\n"
    assert await out(connection, voters) == set(voters)
    await follow()
    assert shell("integrity", "list").out == "No cohort is waiting\n"
    assert shell("integrity", "list", "--status", "voided", "--json").json()["cohorts"][0]["status"] == "voided"
    assert shell("integrity", "undo", cohort.id, "--reason", "a mistake", "--json").json()["status"] == "waiting"
    assert await out(connection, voters) == set()
    operators = await connection.fetchval("select array_agg(distinct meta->>'operator') from log.events where data ? 'cohort'")
    assert operators == ["shell"]
    assert (await deeds_of(connection, "shell")).count("CohortDecided") == 2


async def test_a_cohort_is_dismissed_or_watched(shell: Shell, connection: Any, cohort: Cohort, voters: list[str]) -> None:
    """Its votes stand, and it waits no more."""
    assert shell("integrity", "watch", cohort.id, "--reason", "a launch?").out == "Watched: it comes back if it grows\n"
    assert shell("integrity", "dismiss", cohort.id, "--reason", "a launch").out == "Dismissed: its votes count\n"
    assert await out(connection, voters) == set()


async def test_what_cannot_be_decided_is_said_in_a_line(
    shell: Shell, connection: Any, cohort: Cohort, voters: list[str]
) -> None:
    """An unknown cohort, an old revision, a missing reason, a void that stands, and one that takes two."""
    shell("integrity", "void", new_id(), "--reason", "x").failed("There is no such cohort")
    shell("integrity", "show", new_id()).failed("There is no such cohort")
    shell("integrity", "void", cohort.id, "--reason", "x", "--revision", "9").failed("it is 1 now")
    shell("integrity", "void", cohort.id).failed("--reason", status=2)
    proposed = shell("integrity", "void", cohort.id, "--reason", "x", BALLOTPRESS_SECOND_OPERATOR_ABOVE="3")
    assert proposed.out.startswith("Proposed: another operator must confirm")
    assert await out(connection, voters) == set()
    shell("integrity", "undo", cohort.id, "--reason", "x")
    shell("integrity", "void", cohort.id, "--reason", "x", status=0)
    shell("integrity", "dismiss", cohort.id, "--reason", "x").failed("undo that first")
