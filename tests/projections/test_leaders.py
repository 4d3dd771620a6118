"""Who leads and what moved within seven days: by what the log says of now and of then, however long nobody has voted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from events.ballots import VoteCast
from events.catalog import ToolUnlisted
from events.log import ids
from projections import leaders
from projections.leaders import Leader, Place
from projections.settled import lower_bound
from tests.support.catalogs import new_id
from tests.support.histories import SLUGS, TOOLS
from tests.support.log import record_at, tool_added
from tests.support.runners import Connection, catch_up_all

LONG_AGO, NOW = datetime.now(UTC) - timedelta(days=60), datetime.now(UTC)
Votes = tuple[float, int, int, int]
"""Days ago, the number of the tool, ships, skips."""


async def vote(connection: Connection, dsn: str, *votes: Votes) -> None:
    """Add the three tools, and let these votes happen in their order."""
    events = [(LONG_AGO, ids.stream_of(tool), tool_added(tool, slug)) for tool, slug in zip(TOOLS, SLUGS, strict=True)]
    for days, number, ships, skips in votes:
        for choice in ("ship",) * ships + ("skip",) * skips:
            voter, tool = new_id(), TOOLS[number]
            cast = VoteCast(voter=voter, tool=tool, choice=choice, previous=None)  # type: ignore[arg-type]
            events.append((NOW - timedelta(days=days), ids.stream_beside(voter, "ballot", tool), cast))
    await record_at(connection, events)
    await catch_up_all(dsn, [7])


async def board(connection: Connection, category: str | None = None) -> Sequence[Leader]:
    """Read the leaderboard."""
    return await leaders.leaders(connection, category, 20)  # type: ignore[arg-type]


async def test_ranks_are_those_of_now_and_of_seven_days_ago(dsn: str, connection: Connection) -> None:
    """A tool that was overtaken stands below, with its rank and tally of then; one without votes then had no rank."""
    await vote(connection, dsn, (20, 0, 9, 3), (10, 1, 3, 1), (3, 1, 40, 0), (2, 2, 5, 5), (1, 0, 0, 1))
    assert [(one.slug, one.rank, one.rank_before, one.ship_before, one.skip_before) for one in await board(connection)] == [
        ("two", 1, 2, 3, 1),
        ("one", 2, 1, 9, 3),
        ("three", 3, None, 0, 0),
    ]
    (first, *_) = await board(connection)
    assert first.place == pytest.approx(-lower_bound(43, 1))
    assert await board(connection, "none") == []
    assert [one.slug for one in await board(connection, "c")] == ["two", "one", "three"]


@pytest.mark.parametrize(
    "quiet", [0.1, 3, 5.5, 6.5, 8, 30]
)  # no vote is seven days old to the hour: another may begin meanwhile
async def test_a_week_ends_by_the_clock(dsn: str, connection: Connection, quiet: float) -> None:
    """Seven days are those before now, also when nobody has voted for long: what is older has not moved anything."""
    await vote(connection, dsn, (40, 0, 5, 0), (quiet + 5, 1, 20, 0), (quiet + 1, 2, 60, 0), (quiet, 0, 1, 0))
    then = {"one": 5, "two": 0, "three": 0}
    for slug, days, ships in (("two", quiet + 5, 20), ("three", quiet + 1, 60), ("one", quiet, 1)):
        then[slug] += ships if days > 7 else 0
    ranks = {slug: n for n, slug in enumerate(sorted((s for s in then if then[s]), key=lambda s: -then[s]), 1)}
    found = await board(connection)
    assert {one.slug: one.ship_before for one in found} == then
    assert {one.slug: one.rank_before for one in found if one.rank_before} == ranks
    assert [one.slug for one in found] == ["three", "two", "one"]


async def test_a_page_goes_on_with_the_next_rank(dsn: str, connection: Connection) -> None:
    """Ranks are counted through from page to page."""
    await vote(connection, dsn, (20, 0, 9, 3), (10, 1, 3, 1), (3, 2, 1, 1))
    whole, paged, after = await board(connection), list[Leader](), None
    while page := await leaders.leaders(connection, None, 1, after):  # type: ignore[arg-type]
        paged += page
        after = Place(page[-1].place, page[-1].slug, page[-1].rank)
    assert paged == whole and [one.rank for one in paged] == [1, 2, 3]


async def test_a_verdict_moved_if_it_is_another_than_a_week_ago(dsn: str, connection: Connection) -> None:
    """What came, changed or went is told once, from what to what; what went and came back within the week is not."""
    await vote(connection, dsn, (20, 0, 30, 0), (10, 1, 30, 0), (3, 1, 0, 60), (2, 2, 30, 0))
    moved = await leaders.moved_this_week(connection, 10)  # type: ignore[arg-type]
    assert {(one.slug, one.kind, one.before, one.after) for one in moved} >= {
        ("two", "community", "ship", "skip"),
        ("three", "community", None, "ship"),
        ("three", "settled", None, "ship"),
    }
    assert "one" not in {one.slug for one in moved}
    assert [one.position for one in moved] == sorted((one.position for one in moved), reverse=True)


async def test_the_newest_tools_are_those_last_added(dsn: str, connection: Connection) -> None:
    """By when they came into the catalog; one that is off the site is not among them."""
    await vote(connection, dsn)
    assert await leaders.newest_tools(connection, 2) == ["three", "two"]  # type: ignore[arg-type]
    await record_at(connection, [(NOW, ids.stream_of(TOOLS[2]), ToolUnlisted(tool=TOOLS[2]))])
    await catch_up_all(dsn)
    assert await leaders.newest_tools(connection, 2) == ["two", "one"]  # type: ignore[arg-type]
