"""`ballotpress replay`: beside the live views, shown before it switches, and harmless however it ends."""

import asyncio
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from events.log.committer import Committer
from events.registry import REGISTRY
from projections.engine.folding import Pace
from projections.engine.projection import Projection, RebuildRunning, only_one
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from tests.oracle import compare
from tests.support.histories import A_DAY, SLUGS, TOOLS, VOTERS, History, add_three_tools
from tests.support.runners import Connection, at_head, catch_up, catch_up_all, must_be_right, runner, running, tables, until
from tests.support.shell import Shell
from tests.support.signing import grow, sign, signer

SCRATCH = "select count(*) from pg_namespace where nspname ~ '_(next|prev|gone|swap)$'"
CARDS = PROJECTIONS[0]
ADDED = 2
"""The place, in the lists below, of the drift that adds a row: no event is behind it."""

# A change, a missing row and an extra row for every table, but for a table of one row.
DRIFTS = {
    "proof.tiles": [
        "update proof_1.tiles set hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40)) where level = 0",
        "delete from proof_1.tiles",
        "insert into proof_1.tiles select 0, 99, substring(hashes for 32) from proof_1.tiles limit 1",
    ],
    "cards.tools": [
        "update cards_4.tools set name = 'x' where slug = 'one'",
        "delete from cards_4.tools where slug = 'one'",
        "insert into cards_4.tools select 'x', 'x', name, tagline, description, category, pricing_tier,"
        " pricing_label, best_for, url, reviewed, disclosure, successor, listed, position from cards_4.tools limit 1",
    ],
    "cards.panel": [
        "update cards_4.panel set score = 1",
        "delete from cards_4.panel",
        "insert into cards_4.panel select tool, 'Nobody', score, verdict, take, 1, 1, category, listed"
        " from cards_4.panel limit 1",
    ],
    "cards.places": [
        "update cards_4.places set panel_first = 7",
        "delete from cards_4.places",
        "insert into cards_4.places values ('x', 'x', 'x', 'x', false, 1, 0)",
    ],
    "cards.categories": [
        "update cards_4.categories set tools = 7",
        "delete from cards_4.categories",
        "insert into cards_4.categories values ('x', 1)",
    ],
    "cards.reviewers": [
        "update cards_4.reviewers set shipped = 7",
        "delete from cards_4.reviewers",
        "insert into cards_4.reviewers values ('x', 'y', 1, 0)",
    ],
    "cards.tallies": [
        "update cards_4.tallies set ship = ship + 1",
        "delete from cards_4.tallies",
        "insert into cards_4.tallies values ('x', 0, 0, 1)",
    ],
    "cards.former_slugs": [
        "update cards_4.former_slugs set position = 1",
        "delete from cards_4.former_slugs",
        "insert into cards_4.former_slugs values ('x', 'y', 1)",
    ],
    "cards.personas": [
        "update cards_4.personas set excited_by = '{x}'",
        "delete from cards_4.personas",
        "insert into cards_4.personas values ('x', 'X', null, null, null, '{}', '{}', 1)",
    ],
    "cards.pairs": [
        "update cards_4.pairs set position = 1",
        "delete from cards_4.pairs",
        "insert into cards_4.pairs values ('x', 'y', 1)",
    ],
    "hours.days": [
        "update hours_5.days set voided = '{{0,1,1}}' where voided is null",
        "delete from hours_5.days",
        "insert into hours_5.days values (1, '2026-01-01', 0, 0, 'x', '{}')",
    ],
    "hours.disqualified": [
        "update hours_5.disqualified set voter = 'x'",
        "delete from hours_5.disqualified",
        "insert into hours_5.disqualified values ('x')",
    ],
    "hours.trends": [
        "update hours_5.trends set net = 7",
        "delete from hours_5.trends",
        "insert into hours_5.trends values ('x', 'x', 'x', true, 0)",
    ],
    "hours.trends_begin": ["update hours_5.trends_begin set hour = now()", "delete from hours_5.trends_begin"],
    "bookmarks.bookmarks": [
        "update bookmarks_1.bookmarks set position = 1",
        "delete from bookmarks_1.bookmarks",
        "insert into bookmarks_1.bookmarks values ('x', 'y', 1)",
    ],
    "reviews.reviews": [
        "update reviews_2.reviews set public_revision = null",
        "delete from reviews_2.reviews",
        "insert into reviews_2.reviews (review, visitor, tool, status, revision, verdict, sealed_text,"
        " submitted_position, submitted_at, position) values ('x', 'x', 'x', 'pending', 1, 'ship', '', 1, now(), 1)",
    ],
    "reviews.reports": [
        "update reviews_2.reports set ground = 'other'",
        "delete from reviews_2.reports",
        "insert into reviews_2.reports values ('x', 'x', 'x', 'fake', null, now(), 1)",
    ],
    "reviews.acts": [
        "update reviews_2.acts set acts = acts + 1",
        "delete from reviews_2.acts",
        "insert into reviews_2.acts values ('x', 'x', 0, 1)",
    ],
    "subscribers.subscribers": [
        "update subscribers_2.subscribers set status = 'confirmed'",
        "delete from subscribers_2.subscribers",
        "insert into subscribers_2.subscribers values ('x', '', 'pending', 0, '{}', 'daily', null, null, null, now(), null, 1)",
    ],
    "subscribers.visitors": [
        "update subscribers_2.visitors set position = 1",
        "delete from subscribers_2.visitors",
        "insert into subscribers_2.visitors values ('x', 'y', 1)",
    ],
    "corrections.corrections": [
        "update corrections_1.corrections set votes = 99",
        "delete from corrections_1.corrections",
        "insert into corrections_1.corrections values ('x', 'disqualified', '', 0, 0, now(), 1)",
    ],
    "corrections.corrected_tools": [
        "update corrections_1.corrected_tools set after_ship = 99",
        "delete from corrections_1.corrected_tools",
        "insert into corrections_1.corrected_tools values ('x', 'y', 0, 0, 0, 0)",
    ],
    "verdicts.standings": [
        "update verdicts_1.standings set changed_at = now()",
        "delete from verdicts_1.standings",
        "insert into verdicts_1.standings values ('x', '', false, 0, 0, 0, 0, 0, null, null, null, 1, now())",
    ],
    "verdicts.judgements": [
        "update verdicts_1.judgements set verdict = 'skip'",
        "delete from verdicts_1.judgements",
        "insert into verdicts_1.judgements values ('x', 'y', 'ship')",
    ],
    "verdicts.verdicts": [
        "update verdicts_1.verdicts set after = 'skip'",
        "delete from verdicts_1.verdicts",
        "insert into verdicts_1.verdicts values ('x', 'panel', 1, now(), null, 'ship', '', false)",
    ],
    "search.documents": [
        "update search_1.documents set key = 'x' where tool = (select min(tool) from search_1.documents)",
        "delete from search_1.documents",
        "insert into search_1.documents values ('x', 'y', '', false)",
    ],
    "search.words": [
        "update search_1.words set texts = texts + 1",
        "delete from search_1.words",
        "insert into search_1.words values ('x', 1, 1, 1)",
    ],
    "integrity.cells": [
        "update integrity_2.cells set young_ship = young_ship + 1",
        "delete from integrity_2.cells",
        "insert into integrity_2.cells values ('x', now(), 0, 0, 0, 0, 1, 1)",
    ],
    "integrity.ticks": [
        "update integrity_2.ticks set votes = votes + 1",
        "delete from integrity_2.ticks",
        "insert into integrity_2.ticks values ('2026-01-01', 0, 0, 1)",
    ],
    "integrity.announcements": [
        "update integrity_2.announcements set at = now()",
        "delete from integrity_2.announcements",
        "insert into integrity_2.announcements values ('x', 1, now())",
    ],
    "integrity.decisions": ["update integrity_2.decisions set version = 7", "delete from integrity_2.decisions"],
    "integrity.kept": ["update integrity_2.kept set gone = 7", "delete from integrity_2.kept"],
}


async def live(connection: Connection) -> dict[str, Any]:
    """Return all live tables, with their checkpoints and generations."""
    found: dict[str, Any] = {p.schema: await tables(connection, p.schema) for p in PROJECTIONS}
    for projection in PROJECTIONS:
        checkpoint = await connection.fetchrow(f"select position, generation from {projection.schema}.checkpoint")  # noqa: S608
        found[f"{projection.schema} checkpoint"] = tuple(checkpoint)
    return found


# As only a test's superuser can.
LET_A_DAY_PASS = """
alter table log.events disable trigger events_append_only;
update log.events set recorded_at = recorded_at - interval '1 day'
where position < (select max(position) from log.events where type = 'VoteCast');
alter table log.events enable trigger events_append_only;
"""


@pytest.fixture
async def full(committer: Committer, dsn: str, connection: Connection) -> None:
    """A log with events for every table, the last vote a day after the others, and views at its head."""
    await add_three_tools(committer)
    await History(committer).do(
        [
            *A_DAY,
            ("panel", 0, "Builder", "ship", 80),
            ("announce", 0, 1),
            ("elsewhere", 0, 0),
            ("persona", "Builder", "role", ["a"]),
            ("read", 0, "request", VOTERS[0]),
        ]
    )
    await connection.execute(LET_A_DAY_PASS)
    await catch_up_all(dsn)


@pytest.mark.usefixtures("full")
async def test_drift_in_every_table_is_named_and_mended(dsn: str, connection: Any, subtests: pytest.Subtests) -> None:
    """A changed, a missing and an extra row in any table: verify names table, key and events, and a rebuild mends it."""
    from projections.engine.verify import verify

    names = [f"{p.name}.{t['name']}" for p in PROJECTIONS for t in await connection.fetch(compare.READ_TABLES, p.schema)]
    assert sorted(DRIFTS) == sorted(names)
    assert sorted(SOURCES) == sorted({name.partition(".")[2] for name in names})
    for projection in PROJECTIONS:
        mine = {place.partition(".")[2]: drifts for place, drifts in DRIFTS.items() if place.startswith(f"{projection.name}.")}
        right = await tables(connection, projection.schema)
        assert right.keys() == mine.keys(), f"something is in every table of {projection.name} to drift"
        assert (await verify(dsn, projection, REGISTRY, SOURCES)).tables == []
        for kind, drifts in enumerate(zip_longest(*mine.values())):
            with subtests.test(projection.name, kind=kind):
                for drift in filter(None, drifts):
                    await connection.execute(drift)
                found = await verify(dsn, projection, REGISTRY, SOURCES)
                drifted = {table for table, drift in zip(mine, drifts, strict=True) if drift}
                assert {table.table for table in found.tables} == drifted
                if kind < ADDED:
                    assert {table.table for table in found.tables if any(row.events for row in table.rows)} == drifted
                assert await connection.fetchval(SCRATCH) == 0
                assert await rebuilt(dsn, projection) == found.count
                assert await tables(connection, projection.schema) == right


async def rebuilt(dsn: str, projection: Projection, keep_previous: bool = False) -> int:
    """Rebuild a view and switch; return how many rows differed."""
    async with only_one(dsn, projection):
        rebuild = Rebuild(dsn, projection, REGISTRY, pace=Pace(pause=0))
        await rebuild.prepare()
        await rebuild.catch_up()
        found = await rebuild.compare()
        await rebuild.switch(keep_previous=keep_previous)
    return found.count


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("moved", ["position + 1000", "position - 12"])
async def test_a_moved_checkpoint_is_named_and_mended(shell: Shell, dsn: str, connection: Any, moved: str) -> None:
    """A checkpoint that was moved on or back, also once a projector went on from there, shows as drift; a replay mends it."""
    async with running(*(runner(dsn, p) for p in PROJECTIONS)):
        await until(lambda: at_head(connection))
        for projection in PROJECTIONS[:2]:
            await connection.execute(f"update {projection.schema}.checkpoint set position = {moved}")  # noqa: S608
        await asyncio.sleep(1)
        ran = shell("verify", "--json", status=1)
        said = json.loads(ran.out)
        wrong = {one["projection"] for one in said["verified"] if one["diff"]["tables"]}
        assert wrong == {"cards", "hours"}, said
        side_by_side = json.loads(shell("verify", "--json", "--jobs", "4", status=1).out)
        assert [one["projection"] for one in side_by_side["verified"]] == [one["projection"] for one in said["verified"]]
        assert {one["projection"] for one in side_by_side["verified"] if one["diff"]["tables"]} == wrong
        shell("replay", "cards", "hours", status=0)
        shell("verify", status=0)
        await until(lambda: at_head(connection))
    await must_be_right(connection, dsn)


@pytest.mark.usefixtures("full")
async def test_a_dry_run_shows_and_changes_nothing(shell: Shell, connection: Any) -> None:
    """The dry run lists what differs by table and key, leaves the live tables, and nothing beside them."""
    await connection.execute("update cards_4.tallies set ship = 77 where tool = $1", TOOLS[0])
    before = await live(connection)
    out = shell("replay", "--dry-run", status=0).out
    assert "cards: rebuilt to position" in out and f"tool={TOOLS[0]} ({SLUGS[0]}): ship is 77, should be" in out
    assert "(events " in out
    assert "switching" not in out and "hours: rebuilt" in out
    assert await live(connection) == before
    assert await connection.fetchval(SCRATCH) == 0


@pytest.mark.usefixtures("full")
async def test_previous_tables_come_back_caught_up(shell: Shell, dsn: str, connection: Any, committer: Committer) -> None:
    """`--keep-previous` keeps the tables, `--rollback` brings them back at the head of today, and forth again."""
    await connection.execute("update cards_4.tools set name = 'kept' where slug = 'one'")
    shell("replay", "cards", "--keep-previous", status=0)
    name = "select name from cards_4.tools where slug = 'one'"
    assert await connection.fetchval(name) == "One"
    await History(committer, 1_000).do([("vote", VOTERS[1], 1, None), ("vote", VOTERS[3], 2, "skip")])
    await catch_up(dsn, CARDS)
    right = (await tables(connection, CARDS.schema))["tallies"]
    rolled = shell("replay", "--rollback", "cards", "--json").json()
    assert rolled["position"] == await connection.fetchval("select position from log.head")
    assert await connection.fetchval(name) == "kept"
    assert (await tables(connection, CARDS.schema))["tallies"] == right
    shell("replay", "--rollback", "cards", status=0)
    assert await connection.fetchval(name) == "One"
    shell("replay", "cards", status=0)
    assert await connection.fetchval(SCRATCH) == 0
    shell("replay", "--rollback", "cards").failed("No earlier tables of cards")
    shell("replay", "--rollback", "cards", "--dry-run").failed("--rollback goes with", status=2)
    shell("replay", "nothing").failed("there is no view 'nothing'", status=2)


@pytest.mark.usefixtures("full")
async def test_two_replays_of_one_view(shell: Shell, dsn: str) -> None:
    """The second is told so in one line; another view may be replayed meanwhile."""
    async with only_one(dsn, CARDS):
        shell("replay", "cards").failed("Another replay of cards is running")
        shell("replay", "bookmarks", "cards", "--jobs", "2").failed("Another replay of cards is running")
        shell("replay", "--jobs", "0").failed("--jobs", status=2)
        shell("replay", "hours", status=0)
        with pytest.raises(RebuildRunning):
            async with only_one(dsn, CARDS):
                pass
    shell("replay", "cards", status=0)


async def test_a_hole_below_the_checkpoint_is_said(shell: Shell, dsn: str, connection: Any, committer: Committer) -> None:
    """Where the log itself was damaged, replay and verify stop there with one line, and the live views stay."""
    await add_three_tools(committer)
    await History(committer).do([("vote", voter, 0, "ship") for voter in VOTERS])
    await catch_up_all(dsn)
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute("delete from log.events where position = 5")
    before = await live(connection)
    for command in ("replay", "verify"):
        ran = shell(command, "cards", status=1)
        assert "Position 5 can't be folded" in ran.err and ran.err.count("\n") == 1
    assert await live(connection) == before


async def test_a_tree_that_belies_what_was_signed_never_goes_live(
    shell: Shell, dsn: str, connection: Any, committer: Committer, tmp_path: Path
) -> None:
    """Once a root is signed, a tree made from a log that was changed below it is an alarm, and nothing is switched."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    await grow(committer, dsn, 1)
    shell("replay", "proof", "--keep-previous", status=0)
    before = await tables(connection, "proof_1")
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute("update log.events set recorded_at = recorded_at - interval '1 hour' where position = 2")
    for words in (["replay", "proof"], ["replay", "proof", "--dry-run"]):
        ran = shell(*words, status=1)
        assert "ALARM" in ran.err and "contradict the checkpoint of 3 entries" in ran.err
        assert "(events 2)" in ran.out and "switching" not in ran.out
    assert await tables(connection, "proof_1") == before
    assert await connection.fetchval("select to_regnamespace('proof_1_next')") is None
    await connection.execute("update proof_1_prev.tiles set hashes = substring(hashes for 64) || substring(hashes for 64)")
    shell("replay", "--rollback", "proof").failed("ALARM")
    assert await tables(connection, "proof_1") == before
