"""`ballotpress explain`: every number, told again from its events, is the number that the site showed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings

from events.log import ids
from events.log.committer import Committer
from events.registry import REGISTRY
from projections import history as tally_history
from tests.oracle.entries import entry_from
from tests.oracle.fold import Cards
from tests.support import servers
from tests.support.histories import EXAMPLES, SLUGS, TOOLS, VOTERS, Act, History, add_three_tools, histories, random_histories
from tests.support.log import patient
from tests.support.runners import Connection, catch_up_all
from tests.support.servers import database
from tests.support.shell import Shell

SUPERSEDED = {"changed", "retracted", "voided"}


async def tallies_at(connection: Connection, position: int) -> dict[str, tuple[int, int]]:
    """Fold the log up to a position in Python; return each tool's (ship, skip)."""
    view = Cards()
    for row in await connection.fetch("select * from log.recorded_events where position <= $1 order by position", position):
        view.take(entry_from(REGISTRY, row))
    return {row["tool"]: (row["ship"], row["skip"]) for row in view.tables()["tallies"].values()}


@settings(random_histories, max_examples=max(3, EXAMPLES // 3))
@given(acts=histories)
async def test_the_events_make_up_the_number(postgres: servers.Postgres, template: str, acts: Sequence[Act]) -> None:
    """After any history, as of any position, the votes listed as counted make up the tally; every other vote has its reason."""
    async with database(postgres, template) as dsn:
        connection = await asyncpg.connect(dsn)
        async with patient(dsn) as committer:
            await add_three_tools(committer)
            history = History(committer)
            await history.do(acts[: len(acts) // 2])
            await catch_up_all(dsn)
            await history.do(acts[len(acts) // 2 :])
        head = await connection.fetchval("select position from log.head")
        for position in {head, head // 2}:
            right = await tallies_at(connection, position)
            for tool in TOOLS:
                await tally_history.read_changes(connection, tool, position, [])
                story = await tally_history.read_history(connection, tool, position, [])
                told = [event async for event in tally_history.read_events(connection, None)]
                counting = [event.choice for event in told if event.fate == "counts"]
                assert (story.ship, story.skip) == right.get(tool, (0, 0))
                assert (counting.count("ship"), counting.count("skip")) == (story.ship, story.skip)
                assert all((event.by is not None) == (event.fate in SUPERSEDED) for event in told)
                assert len(told) == sum(story.fates.values())
        await connection.close()


async def test_the_command_lists_counted_changed_retracted_and_voided_votes(
    shell: Shell, dsn: str, connection: Any, committer: Committer
) -> None:
    """`explain tally` shows the number, the events behind it, and whether the site differs; also as of an earlier time."""
    await add_three_tools(committer)
    history = History(committer)
    await history.do([("vote", voter, 0, "ship") for voter in VOTERS])
    then = await connection.fetchval("select clock_timestamp()")
    await history.do([("vote", VOTERS[0], 0, "skip"), ("vote", VOTERS[1], 0, None), ("correct", [VOTERS[2]], False)])
    await catch_up_all(dsn)
    out = shell("explain", "tally", SLUGS[0], status=0).out
    assert "one: 1 ship / 1 skip, 50% ship, too early, at position 12" in out
    assert "4 voters; of 5 votes: 2 counted, 1 changed later, 1 retracted, 1 voided" in out
    assert "disqualified 1 voter, 1 vote: why" in out and "! The site says" not in out
    earlier = shell("explain", "tally", SLUGS[0], "--as-of", then.isoformat(), "--json").json()
    assert (earlier["community"]["ship"], earlier["position"], earlier["shown"]) == (4, 7, [4, 0])
    shell("explain", "tally", "nothing").failed("Unknown tool: nothing")
    shell("explain", "tally", "one", "--as-of", "noon").failed("is not a time", status=2)


DRIFTS = {
    "update cards_4.tallies set ship = 77": "! The site says 77 ship / 0 skip (view cards, at position 5), the log 2 ship",
    "delete from cards_4.tallies": "! The site says 0 ship / 0 skip (view cards, at position 5)",
    "update hours_5.trends set last_ship = 7": "! The site says 7 ship / 0 skip (view hours, at position 5)",
    "update hours_5.trends set void_skip = -9": "! The site says 2 ship / 9 skip (view hours, at position 5)",
    "insert into hours_5.days select 1, '2026-01-01', 5, 0, tool, '{{0,5,0,0,0}}' from hours_5.trends": "! The site says 7",
}


@pytest.mark.parametrize("drift", DRIFTS)
async def test_a_tally_that_a_view_has_wrong_is_said(
    shell: Shell, dsn: str, connection: Any, committer: Committer, drift: str
) -> None:
    """`explain tally` names each view whose tables serve another number than the log gives, and none while all are right."""
    await add_three_tools(committer)
    await History(committer).do([("vote", voter, 0, "ship") for voter in VOTERS[:2]])
    await catch_up_all(dsn)
    assert "!" not in shell("explain", "tally", SLUGS[0], status=0).out
    await connection.execute(drift)
    said = shell("explain", "tally", SLUGS[0], status=0).out
    assert DRIFTS[drift] in said and f"run `ballotpress verify {'cards' if 'cards' in drift else 'hours'}`" in said
    assert said.count("!") == 1


async def test_a_tally_of_a_view_that_stays_behind_is_said(
    shell: Shell, dsn: str, connection: Any, committer: Committer
) -> None:
    """The number explained is the log's own; a view that is right as far as it goes, and behind, is no drift."""
    await add_three_tools(committer)
    await History(committer).do([("vote", VOTERS[0], 0, "ship")])
    await catch_up_all(dsn)
    await History(committer).do([("vote", VOTERS[1], 0, "ship"), ("vote", VOTERS[2], 1, "ship")])
    said = shell("explain", "tally", SLUGS[0], status=0).out
    assert "one: 2 ship / 0 skip" in said and "at position 6" in said
    assert "! The site still says 1 ship / 0 skip (view cards, at position 4): see `ballotpress status`" in said
    assert "verify" not in said
    told = shell("explain", "tally", SLUGS[0], "--json").json()
    assert told["shown"] == [1, 0] and [view["right"] for view in told["views"]] == [[1, 0], [1, 0]]


ROWS = {
    "update cards_4.tools set tagline = 'Free!'": ("tool", '! The site has tagline="Free!" (view cards, at position'),
    "update cards_4.panel set score = 3": ("tool", "! The site has panel builder="),
    "delete from cards_4.tools where slug = 'one'": ("tool", '! The site has row="nothing"'),
    "update reviews_2.reviews set public_verdict = 'skip'": ("review", '! The site has public_verdict="skip"'),
    "update reviews_2.reviews set sealed_text = 'eA=='": ("review", '! The site has sealed_text="another text"'),
}


@pytest.mark.parametrize("drift", ROWS)
async def test_a_description_or_review_that_the_site_has_wrong_is_said(
    shell: Shell, dsn: str, connection: Any, committer: Committer, drift: str
) -> None:
    """`explain tool` and `explain review` name each field that is served otherwise than the log gives it."""
    await add_three_tools(committer)
    approved = [("review", VOTERS[0], 0, "ship", 40), ("moderate", VOTERS[0], 0, "approve", None)]
    await History(committer).do([("panel", 0, "Builder", "ship", 80), *approved])
    await catch_up_all(dsn)
    kind, said = ROWS[drift]
    review = await connection.fetchval("select review from reviews_2.reviews")
    words = ("explain", kind, SLUGS[0] if kind == "tool" else review)
    assert "!" not in shell(*words, status=0).out
    await connection.execute(drift)
    out = shell(*words, status=0).out
    assert said in out and out.count("! ") == 1 and "eA==" not in out


async def test_a_tool_and_a_review_are_explained_from_their_streams(
    shell: Shell, committer: Committer, connection: Any
) -> None:
    """`explain tool` and `explain review` list every event of the stream and the state after it; nothing sealed is shown."""
    await add_three_tools(committer)
    await History(committer).do(
        [
            ("describe", 0, None),
            ("review", VOTERS[0], 0, "ship", 40),
            ("moderate", VOTERS[0], 0, "approve", None),
            ("review", VOTERS[0], 0, "skip", 30),
        ]
    )
    tool = shell("explain", "tool", SLUGS[0], "--json").json()
    assert [event["type"] for event in tool["events"]] == ["ToolAdded", "ToolDescribed"]
    assert tool["now"]["pricing_tier"] == "paid"
    review = await connection.fetchval("select data->>'review' from log.events where type = 'ReviewSubmitted'")
    told = shell("explain", "review", review, status=0).out
    assert "ReviewApproved" in told and 'status="pending"' in told and "public_revision=1" in told
    assert f'tool="{TOOLS[0]}" ({SLUGS[0]})' in told
    assert shell("explain", "review", review, "--json", status=0).json()["slugs"] == {TOOLS[0]: SLUGS[0]}
    assert "sealed" not in told + shell("explain", "review", review, "--json", status=0).out
    shell("explain", "review", "x").failed("is not a review's id")
    shell("explain", "review", VOTERS[3]).failed(f"Unknown review: {VOTERS[3]}")
    shell("explain", "review", TOOLS[0]).failed(f"Unknown review: {TOOLS[0]}", "whose first event is ToolAdded")


async def test_an_explained_stream_equals_its_projections_row(
    shell: Shell, dsn: str, committer: Committer, connection: Connection
) -> None:
    """`explain tool` and `explain review` fold a stream to the projection's row, without its sealed columns."""
    await add_three_tools(committer)
    approved = [("review", VOTERS[0], 0, "ship", 40), ("moderate", VOTERS[0], 0, "approve", None)]
    await History(committer).do([("describe", 0, None), *approved, ("review", VOTERS[0], 0, "skip", 30), ("relist", 0)])
    await catch_up_all(dsn)
    review = await connection.fetchval("select review from reviews_2.reviews")
    tool = await connection.fetchrow("select * from cards_4.tools where slug = $1", SLUGS[0])
    assert shell("explain", "tool", SLUGS[0], "--json").json()["now"] == dict(tool or {})
    row = await connection.fetchrow("select * from reviews_2.reviews")
    now = shell("explain", "review", review, "--json").json()["now"]
    for column in ("submitted_at", "published_at"):
        now[column] = datetime.fromisoformat(now[column])
    assert now == {column: value for column, value in (row or {}).items() if "sealed" not in column}


async def test_a_renamed_tool_is_explained_by_each_of_its_slugs(
    shell: Shell, dsn: str, committer: Committer, connection: Connection
) -> None:
    """Every slug leads to the tool, whose events tell which it had; what its successor's name did to its card is no drift."""
    await add_three_tools(committer)
    renames = [("rename", 0, 1), ("elsewhere", 0, 0), ("vote", VOTERS[0], 0, "ship"), ("rename", 1, 1)]
    await History(committer).do([("describe", 0, "a", 1), *renames])
    await catch_up_all(dsn)
    for slug in ("one", "one-b", "one-x"):
        told = shell("explain", "tool", slug, status=0).out
        assert told.startswith("one-b: ") and 'ToolRenamed slug="one-b"' in told and 'FormerSlugAdded slug="one-x"' in told
        assert "!" not in told
        assert "1 ship / 0 skip" in shell("explain", "tally", slug, status=0).out
    row = dict(await connection.fetchrow("select * from cards_4.tools where slug = 'one-b'") or {})
    assert shell("explain", "tool", "one", "--json").json()["now"] == row | {"reviewed": row["reviewed"].isoformat()}
    assert row["position"] == await connection.fetchval("select max(position) from log.events where type = 'ToolRenamed'")


async def test_a_stream_that_this_release_cannot_read_is_listed_all_the_same(
    shell: Shell, committer: Committer, connection: Any
) -> None:
    """An event of a later release, or with broken data, is listed with the reason; its data is not shown."""
    await add_three_tools(committer)
    stream = ids.stream_of(TOOLS[0])
    head = await connection.fetchval("select position from log.head")
    for n, (type_, version) in enumerate([("ToolMerged", 1), ("ToolListed", 9), ("ToolDescribed", 1)], 1):
        await connection.execute(
            "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
            " values ($1, $2, now(), $3, $4, $5, '{\"name\": 7}')",
            *(stream, head + n, n + 1, version, type_),
        )
    await connection.execute("update log.head set position = position + 3")
    told = shell("explain", "tool", SLUGS[0], status=0).out
    assert "ToolMerged (unreadable: ToolMerged version 1 is not known to this release)" in told
    assert "ToolListed (unreadable: ToolListed version 9 is not known to this release)" in told
    assert "ToolDescribed (unreadable: " in told
    assert [event["data"] for event in shell("explain", "tool", SLUGS[0], "--json").json()["events"]][1:] == [{}, {}, {}]
