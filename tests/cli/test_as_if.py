"""`voters void --as-if`: what the site would say without a cohort, before anything is appended."""

from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from projections import tools
from projections.tally import ranks
from services.cli import voters
from tests.support.histories import VOTERS, History, add_three_tools
from tests.support.runners import catch_up_all
from tests.support.shell import Shell


async def order(dsn: str) -> list[str]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        return [place.slug for place in await tools.tools(pool, "community", None, None, 10)]


async def follow(dsn: str) -> None:
    await catch_up_all(dsn)


async def test_ranks_are_what_the_list_shows_then(shell: Shell, dsn: str, connection: Any, committer: Committer) -> None:
    """Tallies and ranks with and without a cohort are those that the list has before and after; nothing is appended."""
    await add_three_tools(committer)
    await History(committer).do(
        [("vote", voter, 0, "ship") for voter in VOTERS[:3]] + [("vote", voter, 1, "ship") for voter in VOTERS[2:]]
    )
    await follow(dsn)
    assert await order(dsn) == ["one", "two", "three"]
    head = await connection.fetchval("select position from log.head")
    words = ("voters", "void", VOTERS[0], VOTERS[1])
    as_if = shell(*words, "--as-if", "--json").json()
    assert await connection.fetchval("select position from log.head") == head
    (tool,) = as_if["tools"]
    assert (tool["slug"], tool["before"]["rank"], tool["after"]["rank"], as_if["others_moved"]) == ("one", 1, 2, 1)
    text = shell(*words, "--as-if", status=0).out
    assert "  one: 3 ship / 0 skip, 100% ship, too early, rank 1 → 1 ship / 0 skip, 100% ship, too early, rank 2" in text
    first, turned = text.splitlines()[0].split("; ")
    assert first == "Would have disqualified 2 voters with 2 votes on 1 tool"
    assert turned == "no verdict changes, 2 ranks change (of other tools: 1)"
    unmoved = shell("voters", "void", VOTERS[3], "--as-if", status=0).out
    assert unmoved.startswith("Would have disqualified 1 voter with 1 vote on 1 tool; no verdict changes, no rank changes\n")
    shell(*words).failed("say why", status=2)
    shell(*words, "--reason", "why", status=0)
    await follow(dsn)
    assert await order(dsn) == ["two", "one", "three"]


async def test_the_tools_that_change_most_come_first(
    shell: Shell, dsn: str, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many tools those are shown whose verdict or rank changes, the others are counted, and `--all` shows them too."""
    monkeypatch.setattr(voters, "MOST_LINES", 1)
    await add_three_tools(committer)
    votes = [("vote", voter, 0, "ship") for voter in VOTERS[:3]] + [("vote", voter, 2, "ship") for voter in VOTERS[:2]]
    await History(committer).do([*votes, ("vote", VOTERS[0], 1, "skip"), *(("vote", one, 1, "ship") for one in VOTERS[1:3])])
    await follow(dsn)
    _, *some = shell("voters", "void", VOTERS[0], "--as-if").out.splitlines()
    assert some[0].startswith("  three: ")
    assert some[1:] == ["  and 2 tools more, 1 of them with another verdict or rank: --all shows them"]
    _, *everything = shell("voters", "void", VOTERS[0], "--as-if", "--all").out.splitlines()
    assert [line.split(":")[0].strip() for line in everything] == ["three", "two", "one"]


def test_ranks_go_by_the_lower_bound() -> None:
    """More votes of the same share stand higher; tools without votes stand last, ties go by slug."""
    assert ranks({"b": (0, 0), "a": (0, 0), "c": (1, 1), "d": (10, 10), "e": (0, 5)}) == {
        "d": 1,
        "c": 2,
        "e": 3,
        "a": 4,
        "b": 5,
    }
