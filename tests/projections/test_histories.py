"""Every view, after any history and in windows of any sizes: rebuilt = live = the log folded in Python; twice = once."""

from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.engine import window
from projections.engine.projection import connect, work_in
from projections.engine.runner import advance
from projections.registry import PROJECTIONS
from tests.oracle import compare
from tests.oracle.fold import Tables
from tests.support import servers
from tests.support.histories import (
    EXAMPLES,
    SLUGS,
    TOOLS,
    VOTERS,
    Act,
    History,
    add_three_tools,
    drops,
    histories,
    random_histories,
    sizes,
)
from tests.support.log import patient
from tests.support.runners import (
    Connection,
    catch_up,
    catch_up_all,
    catch_up_in,
    in_ranges,
    rebuild_in,
    tables,
    told_by_the_log,
    worker,
)
from tests.support.servers import database


async def record(dsn: str, connection: Connection, acts: list[Act], drops: list[tuple[str, int]], minutes: int) -> None:
    """Let a history happen, its events `minutes` apart, and drop positions, counted round and round the log."""
    async with patient(dsn) as committer:
        await add_three_tools(committer)
        history = History(committer)
        await history.do(acts)
        head = await connection.fetchval("select position from log.head")
        await history.do([("drop", projection, (position - 1) % head + 1) for projection, position in drops])
    await spread(connection, minutes)


async def spread(connection: Connection, minutes: int) -> None:
    """Rewrite the log's times, as only a test's superuser can."""
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute(
        "update log.events set recorded_at = timestamptz '2026-03-01 00:30:00.5+00' + position * $1 * interval '1 minute'",
        minutes,
    )
    await connection.execute("alter table log.events enable trigger events_append_only")


@pytest.mark.timeout(1200 + 3 * EXAMPLES)  # shrinking a failure takes minutes, and is worth them
@random_histories
@given(
    acts=histories,
    drops=st.just([]) | drops,
    minutes=st.sampled_from([0, 7, 61]),
    live_sizes=sizes,
    rebuilt_sizes=st.just([20_000]) | sizes,
)
async def test_rebuilt_is_live_is_fold(
    postgres: servers.Postgres,
    template: str,
    acts: list[Act],
    drops: list[tuple[str, int]],
    minutes: int,
    live_sizes: list[int],
    rebuilt_sizes: list[int],
) -> None:
    """A view built in windows of any sizes, live or afresh, holds what a plain fold of the log holds, at every checkpoint."""
    async with database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        await record(dsn, connection, acts, drops, minutes)
        told = await told_by_the_log(connection)
        async with worker(dsn) as session:
            for projection in PROJECTIONS:
                await work_in(session, projection.schema)
                await advance(session, projection, REGISTRY, live_sizes[0])
                assert await compare.differences(connection, projection, REGISTRY) == []
                await catch_up_in(session, projection.schema, projection, live_sizes)
                live = await tables(connection, projection.schema)
                rebuilt = await rebuild_in(session, connection, projection, rebuilt_sizes)
                assert live == told[projection.name]
                assert await tables(connection, rebuilt) == live
                assert await compare.differences(connection, projection, REGISTRY, rebuilt) == []
        if not drops:
            await must_count_ballots(connection, told)
        await connection.close()


async def must_count_ballots(connection: Connection, told: dict[str, Tables]) -> None:
    """Assert that the tallies are the ballots that stand: each allowed voter's last choice on each tool."""
    ballots: dict[tuple[str, str], str | None] = {}
    allowed = dict.fromkeys(VOTERS, True)
    for row in await connection.fetch("select type, data from log.events order by position"):
        event = REGISTRY.decode(row["type"], 1, row["data"])
        match row["type"]:
            case "VoteCast":
                ballots[event.voter, event.tool] = event.choice  # type: ignore[attr-defined]
            case "VoteRetracted":
                ballots[event.voter, event.tool] = None  # type: ignore[attr-defined]
            case "VoterDisqualified" | "VoterReinstated":
                allowed[event.voter] = row["type"] == "VoterReinstated"  # type: ignore[attr-defined]
    for tool in TOOLS:
        standing = [choice for (voter, on), choice in ballots.items() if on == tool and allowed[voter]]
        right = (standing.count("ship"), standing.count("skip"))
        days = [row for row in told["hours"].get("days", {}).values() if row["tool"] == tool]
        ends = [row["last_hour"] for row in told["hours"].get("trends_begin", {}).values()]
        last = [row for row in told["hours"]["trends"].values() if row["tool"] == tool and row["last_hour"] in ends]
        hours, voided = ([hour for row in days for hour in row[name] or ()] for name in ("hours", "voided"))
        tally = told["cards"].get("tallies", {}).get((tool,), {"ship": 0, "skip": 0})
        assert (tally["ship"], tally["skip"]) == right
        for at, choice in enumerate(("ship", "skip")):
            of_last, void = (sum(row[f"{what}_{choice}"] for row in last) for what in ("last", "void"))
            assert sum(row[choice] for row in days) + of_last == right[at]
            assert sum(hour[at + 1] for hour in hours) + of_last == right[at]
            assert sum(hour[at + 1] for hour in voided) + void == 0


@pytest.mark.timeout(1200 + 3 * EXAMPLES)
@random_histories
@given(
    acts=histories,
    drops=st.just([]) | drops,
    minutes=st.sampled_from([0, 7, 61, 24 * 60 * 9]),
    size=st.integers(1, 30),
)
async def test_ranges_side_by_side_are_the_windows_one_after_another(
    postgres: servers.Postgres, template: str, acts: list[Act], drops: list[tuple[str, int]], minutes: int, size: int
) -> None:
    """A view that is built from ranges of any size holds, row by row, what windows would: of every history, in every table."""
    async with database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        await record(dsn, connection, acts, drops, minutes)
        await catch_up_all(dsn)
        for projection in PROJECTIONS:
            if projection.parts:
                built = await in_ranges(dsn, projection, size)
                assert await tables(connection, built) == await tables(connection, projection.schema), projection.name
        await connection.close()


LATE_CORRECTION = [("vote", VOTERS[0], 0, "ship"), ("vote", VOTERS[0], 1, "skip"), ("correct", [VOTERS[0]], False)]
EDITED_TWICE: list[Act] = [
    ("review", VOTERS[0], 0, "ship", 1),
    ("moderate", VOTERS[0], 0, "approve", None),
    ("review", VOTERS[0], 0, "skip", 2),
    ("moderate", VOTERS[0], 0, "approve", None),
]


@pytest.mark.parametrize("live_sizes", [[1], [2], [20_000]])
@pytest.mark.parametrize(
    ("acts", "dropped"),
    [
        pytest.param(LATE_CORRECTION, ("hours", 4), id="vote before disqualification"),
        pytest.param(EDITED_TWICE, ("reviews", 7), id="edit before approval"),
        pytest.param(EDITED_TWICE, ("reviews", 4), id="submission before edit"),
        pytest.param(EDITED_TWICE, ("reviews", 6), id="approval before edit"),
    ],
)
async def test_what_is_passed_over_is_left_out_of_later_windows_too(
    dsn: str, connection: Any, acts: list[Act], dropped: tuple[str, int], live_sizes: list[int]
) -> None:
    """A later event that refers to one that was passed over brings nothing of it back, however the log is cut into windows."""
    await record(dsn, connection, acts, [dropped], 7)
    told = await told_by_the_log(connection)
    await catch_up_all(dsn, live_sizes)
    for projection in PROJECTIONS:
        assert await tables(connection, projection.schema) == told[projection.name]


async def test_the_same_window_twice_is_once(dsn: str, connection: Any, committer: Committer) -> None:
    """A window that was taken is refused the second time, and leaves no trace."""
    await add_three_tools(committer)
    await catch_up_all(dsn)
    history = History(committer)
    await history.do([("vote", VOTERS[0], 0, "ship"), ("bookmark", VOTERS[0], 0, True), ("correct", [VOTERS[0]], False)])
    start, end = len(TOOLS), await connection.fetchval("select position from log.head")
    for projection in PROJECTIONS:
        await catch_up(dsn, projection)
        before = await tables(connection, projection.schema)
        working = await connect(dsn, projection.schema)
        with pytest.raises((window.CheckpointMoved, asyncpg.UniqueViolationError)):
            async with working.transaction():
                await window.apply(working, projection, REGISTRY, start, end, [])
        await working.close()
        assert await tables(connection, projection.schema) == before
        assert await compare.differences(connection, projection, REGISTRY) == []


async def test_compare_names_every_kind_of_drift(dsn: str, connection: Any, committer: Committer) -> None:
    """A changed, a missing and a surplus row are each told with their key, and what is and what should be."""
    await add_three_tools(committer)
    await History(committer).do([("vote", VOTERS[0], tool, "ship") for tool in range(len(SLUGS))])
    cards = PROJECTIONS[0]
    await catch_up(dsn, cards)
    right = {row["tool"]: dict(row) for row in await connection.fetch("select * from cards_4.tallies")}
    await connection.execute("update cards_4.tallies set ship = 9 where tool = $1", TOOLS[0])
    await connection.execute("delete from cards_4.tallies where tool = $1", TOOLS[1])
    await connection.execute("insert into cards_4.pairs (left_tool, right_tool, position) values ('a', 'b', 1)")
    found = {(d.table, d.key): (d.live, d.right) for d in await compare.differences(connection, cards, REGISTRY)}
    assert (right[TOOLS[0]]["ship"], right[TOOLS[0]]["position"], right[TOOLS[1]]["ship"]) == (1, 4, 1)
    assert found == {
        ("tallies", (TOOLS[0],)): ({**right[TOOLS[0]], "ship": 9}, right[TOOLS[0]]),
        ("tallies", (TOOLS[1],)): (None, right[TOOLS[1]]),
        ("pairs", ("a", "b")): ({"left_tool": "a", "right_tool": "b", "position": 1}, None),
    }
