"""The watch that every runner keeps: silent while a view is right, loud within moments when it isn't."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncpg
from hypothesis import given, settings
from hypothesis import strategies as st

from events.log.committer import Committer
from projections.engine import drift as totals
from projections.engine.projection import connect
from projections.engine.window import dropped_positions
from projections.issues import compile_content
from projections.registry import PROJECTIONS
from services.integrity.under_review import held
from tests.support import servers
from tests.support.histories import (
    A_DAY,
    EXAMPLES,
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
from tests.support.runners import CARDS, Connection, at_head, catch_up, catch_up_all, runner, running, until
from tests.support.servers import database

DRIFTS = {
    "cards": "update cards_4.tallies set ship = ship + 1 where tool = (select min(tool) from cards_4.tallies)",
    "hours": "delete from hours_5.disqualified",
    "bookmarks": "insert into bookmarks_1.bookmarks (visitor, tool, position) values ('v', 't', 1)",
    "reviews": "delete from reviews_2.reviews",
    "corrections": "update corrections_1.checkpoint set position = position + 1000",
    "subscribers": "update subscribers_2.checkpoint set position = position - 1, caught_up = true, halted_position = 0",
    "verdicts": "delete from verdicts_1.standings",
    "integrity": "delete from integrity_2.cells where tool = (select min(tool) from integrity_2.cells)",
    "search": "delete from search_1.words where word = (select min(word) from search_1.words)",
    "proof": "update proof_1.tiles set hashes = substring(hashes from 33) where level = 0",
}


async def looked(dsn: str) -> dict[str, str | None]:
    """Look at every view once, as its runner does."""
    said = {}
    for projection in PROJECTIONS:
        connection = await connect(dsn, projection.schema)
        said[projection.name], _ = await totals.look(connection, projection, await dropped_positions(connection, projection))
        await connection.close()
    return said


@settings(random_histories, max_examples=max(3, EXAMPLES // 3))
@given(acts=histories, drops=st.just([]) | drops, sizes=sizes)
async def test_says_nothing_of_what_is_right(
    postgres: servers.Postgres, template: str, acts: Sequence[Act], drops: list[tuple[str, int]], sizes: list[int]
) -> None:
    """After any history, in windows of any sizes and whatever was passed over, the totals hold."""
    async with database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        await looked(dsn)
        async with patient(dsn) as committer:
            await add_three_tools(committer)
            history = History(committer)
            await history.do(acts)
            head = await connection.fetchval("select position from log.head")
            await history.do([("drop", projection, (position - 1) % head + 1) for projection, position in drops])
        await catch_up_all(dsn, sizes)
        assert await looked(dsn) == dict.fromkeys(p.name for p in PROJECTIONS)
        await connection.close()


async def test_says_what_drifted(dsn: str, connection: Connection, committer: Committer) -> None:
    """A changed count, a missing or surplus row, a moved checkpoint: the runner says so within moments, of that view alone."""
    async with running(*(runner(dsn, p, look_every=0.05) for p in PROJECTIONS)):
        await add_three_tools(committer)
        await History(committer).do([*A_DAY, ("read", 0, "request", VOTERS[0])])
        await until(lambda: at_head(connection))
        assert set((await drifts(connection)).values()) == {None}
        for done, name in enumerate(DRIFTS, 1):
            await connection.execute(DRIFTS[name])
            await until(partial(has_drifted, connection, name))
            assert {view for view, drift in (await drifts(connection)).items() if drift} == {*list(DRIFTS)[:done]}


async def test_an_issue_compiled_under_votes_leaves_the_watch_as_it_was(
    dsn: str, connection: Connection, committer: Committer
) -> None:
    """Views that a compilation brought to one position haven't drifted; what drifts after that is still seen."""
    await add_three_tools(committer)
    history = History(committer)
    await history.do(A_DAY)
    await catch_up_all(dsn)
    assert set((await looked(dsn)).values()) == {None}
    await history.do([("vote", VOTERS[1], 1, "skip"), ("bookmark", VOTERS[1], 1, True), ("correct", [VOTERS[1]], False)])
    await catch_up(dsn, CARDS)
    position, _ = await compile_content(dsn, 0, held)
    assert position == await connection.fetchval("select position from log.head")
    assert await looked(dsn) == dict.fromkeys(p.name for p in PROJECTIONS)
    for drift in DRIFTS.values():
        await connection.execute(drift)
    assert [name for name, wrong in (await looked(dsn)).items() if wrong is None] == []


async def drifts(connection: Connection) -> dict[str, Any]:
    return {
        p.name: await connection.fetchval(f"select drift from {p.schema}.checkpoint")  # noqa: S608
        for p in PROJECTIONS
    }


async def has_drifted(connection: Connection, name: str) -> bool:
    return (await drifts(connection))[name] is not None


def test_every_view_has_totals() -> None:
    """Each projection says what its tables sum up to, and how events change that."""
    for projection in PROJECTIONS:
        assert projection.totals and projection.changes.types
