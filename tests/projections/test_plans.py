"""What PostgreSQL does for the statements that run all day: each goes by an index, however long the log is."""

import json
import os
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import asyncpg
import pytest

from events.catalog import Listing
from events.log import ids, store
from events.log.event import encode
from events.voters import VoterDisqualified
from projections import history, hours, issues
from projections.engine import window
from projections.engine.projection import work_in
from projections.registry import PROJECTIONS, SHOWN
from services.webhooks import messages, spans
from tests.support.histories import TOOLS, VOTERS
from tests.support.parts import make_small
from tests.support.plans import nodes, touched
from tests.support.runners import Connection, catch_up

PROOF = PROJECTIONS[-1]
VOTES = 20_000
PART = 6_000
LAST_PART = "3"
SECONDS_AN_HOUR = 3_600
"""And as many votes."""

INSERT = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select s.stream, s.position, '2026-03-01+00'::timestamptz + s.position * interval '1 second', 1, 1,
       case when s.position % 10 = 0 then 'ToolBookmarked' else 'VoteCast' end, s.data::jsonb
from unnest($1::uuid[], $2::text[]) with ordinality as s(stream, data, position)
"""

BY_POSITION = ("events_position_key", "events_listing_idx", "events_others_idx")
PLAN_MODES = ["force_custom_plan", "force_generic_plan"]


def _tool(n: int) -> str:
    """Return the tool of the n-th vote: one has a single vote."""
    return "voted once" if n == VOTES // 2 else TOOLS[n % 3]


@pytest.fixture
async def long_log(dsn: str) -> AsyncIterator[Connection]:
    """A connection to a log in parts, of votes, some bookmarks and one disqualification; PostgreSQL has statistics of it."""
    connection = await asyncpg.connect(dsn)
    await make_small(connection, PART)
    await connection.execute("select log.make_room($1)", VOTES + 1)
    voters = [ids.new_id(1_780_000_000_000 + n, os.urandom(10)) for n in range(VOTES)]
    streams = [ids.stream_beside(voter, "ballot", _tool(n)) for n, voter in enumerate(voters)]
    data = [
        json.dumps({"voter": voter, "tool": _tool(n), "choice": "ship", "previous": None}) for n, voter in enumerate(voters)
    ]
    await connection.execute(INSERT, streams, data)
    disqualified = VoterDisqualified(voter=voters[0], ballots=[(TOOLS[0], "ship")], correction=VOTERS[0])
    await connection.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
        " values ($1, $2, '2026-03-02+00', 1, 1, 'VoterDisqualified', $3)",
        ids.stream_of(voters[0]),
        VOTES + 1,
        encode(disqualified),
    )
    await connection.execute("update log.head set position = $1, recorded_at = '2026-03-02+00'", VOTES + 1)
    await connection.execute("analyze log.events")
    yield connection
    await connection.close()


class Scan(NamedTuple):
    """An index of the log that a plan scans, by its name in every part, with its condition and the part."""

    index: str
    condition: str
    part: str


async def scans(connection: Connection, mode: str, sql: str, arguments: str) -> list[Scan]:
    """Give each scan of an index on the log in a statement's plan; a scan of a whole part fails."""
    await connection.execute("select set_config('plan_cache_mode', $1, false)", mode)
    await connection.execute(f"prepare probe as {sql}")
    explained = await connection.fetchval(f"explain (format json) execute probe({arguments})")
    await connection.execute("deallocate probe")
    plan = list(nodes(json.loads(explained)[0]["Plan"]))
    whole = [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"]
    assert not any(name.startswith("events") for name in whole), sql
    return [
        Scan(f"events_{found[2]}", node.get("Index Cond", ""), found[1])
        for node in plan
        if (found := re.fullmatch(r"events_(\d+)_(.*)", node.get("Index Name", "")))
    ]


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_a_window_reads_the_window_alone(long_log: Connection, mode: str) -> None:
    """Every statement of a small window finds its events between two positions, and what it looks back at by stream."""
    await must_read_the_window_alone(long_log, mode, window.COUNT_TYPES, "19980, 20001, '{3, 19997}'")
    for projection in SHOWN:
        await work_in(long_log, projection.schema)
        for sql in [projection.changes.sql, *(step.sql for step in projection.steps)]:
            await must_read_the_window_alone(long_log, mode, sql, "19980, 20001, '{3, 19997}'")
    await work_in(long_log, PROOF.schema)
    leaves, *above = [step.sql for step in PROOF.steps]
    await must_read_the_window_alone(long_log, mode, leaves, "19980, 20001")
    for sql in [PROOF.changes.sql, *above]:
        assert await scans(long_log, mode, sql, "19980, 20001") == []  # these read no event


async def must_read_the_window_alone(long_log: Connection, mode: str, sql: str, arguments: str) -> None:
    """Assert that a statement reads between two positions alone, of their own part, and by streams."""
    found = await scans(long_log, mode, sql, arguments)
    bounds = [scan for scan in found if scan.index in BY_POSITION]
    streams = [scan for scan in found if scan.index == "events_pkey"]
    assert bounds and len(bounds) + len(streams) == len(found), sql
    assert all('"position" >' in scan.condition and '"position" <=' in scan.condition for scan in bounds), sql
    assert {scan.part for scan in bounds} == {LAST_PART}, sql
    assert all("stream" in scan.condition for scan in streams), sql


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_what_webhooks_tell_is_read_from_its_window(long_log: Connection, mode: str) -> None:
    """No statement of a window of webhooks, or that finds one, passes over the rest of the log."""
    for sql in (messages.READ_REVIEWS, messages.READ_CORRECTIONS, messages.READ_ISSUES):
        await must_read_the_window_alone(long_log, mode, sql, "19980, 20001")
    assert await scans(long_log, mode, messages.READ_VERDICTS, "19980, 20001") == []  # the view has them, by position
    for sql, arguments in ((spans.READ_WINDOW, "10000, 5000, 20001"), (spans.READ_CLOSED, "now()")):
        assert {scan.index for scan in await scans(long_log, mode, sql, arguments)} == {"events_position_key"}


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_a_decision_reads_the_ends_of_its_streams(long_log: Connection, mode: str) -> None:
    """The last event of each stream that a batch names is found by the log's primary key, inside the head's lock too."""
    lasts = await statements(long_log, "log.lasts(uuid[])")
    begun = next(sql for sql in lasts if sql.startswith("with found")).replace(" into begun", "")
    ends = next(sql for sql in lasts if "unnest(begun)" in sql).partition("return query")[2]
    ends = ends.replace("unnest(begun)", "generate_series(1, 64)")
    none = next(sql for sql in await statements(long_log, "log.stand(uuid[], bigint[])") if "return not exists" in sql)
    none = none.partition("return not exists (")[2].rpartition(")")[0]
    parts = await long_log.fetchval("select count(*) from log.parts")
    for sql in (begun, none, ends):
        found = await scans(long_log, mode, sql.replace("streams", "($1::uuid[])"), "array_fill(gen_random_uuid(), array[64])")
        assert len(found) == parts  # one probe of each
        assert all((scan.index, "stream" in scan.condition) == ("events_pkey", True) for scan in found), sql
        assert sql != begun or all("version <=" in scan.condition for scan in found)  # not all events of a ballot changed often


async def statements(connection: Connection, function: str) -> list[str]:
    """Return the statements of a function in PL/pgSQL."""
    source: str = await connection.fetchval("select prosrc from pg_proc where oid = $1::text::regprocedure", function)
    return [statement.strip() for statement in source.split(";")]


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_the_listing_is_read_by_its_own_index(long_log: Connection, mode: str) -> None:
    """A process that starts reads which tools are listed without passing over the votes."""
    sql = store.read_listing(Listing.types, Listing.fields)
    assert {scan.index for scan in await scans(long_log, mode, sql, "0, 500, 20001")} == {"events_listing_idx"}


@pytest.mark.parametrize("mode", PLAN_MODES)
async def test_a_tally_of_the_past_reads_the_rest_of_one_hour(long_log: Connection, mode: str) -> None:
    """What a tally takes from the log lies between two positions; what was passed over is found by its stream."""
    for sql, when in ((hours.AS_OF, "'2026-03-01 02:30+00'"), (hours.AT, "4321")):
        found = await scans(long_log, mode, sql, f"'tool', {when}, false, gen_random_uuid()")
        assert {scan.index for scan in found} == {"events_position_key", "events_others_idx", "events_pkey"}
        for scan in found:
            assert "stream" in scan.condition if scan.index == "events_pkey" else '"position"' in scan.condition
        assert sum('"position" >' in scan.condition and '"position" <=' in scan.condition for scan in found) >= 2, sql


async def test_a_tally_is_explained_from_its_own_hours(long_log: Connection, dsn: str) -> None:
    """To explain a tool of one vote, the log is read in that vote's hour alone, and where the view has not been."""
    await catch_up(dsn, next(projection for projection in PROJECTIONS if projection.name == "hours"))
    await long_log.execute("analyze hours_5.days")
    read = await touched(long_log, history.CHANGES, "voted once", VOTES + 1, [], False)
    assert 0 < read <= 2 * SECONDS_AN_HOUR
    assert await touched(long_log, history.CHANGES, "voted once", VOTES + 1, [], True) >= VOTES


async def test_the_first_issue_reads_no_vote(long_log: Connection) -> None:
    """What an issue of the whole log says of votes stands in the tallies: it needs no view of single votes."""
    await long_log.execute("select set_config('search_path', $1, false)", ", ".join(p.schema for p in PROJECTIONS))
    await long_log.execute("alter view log.tally_changes rename to unread")
    assert (await issues.read(long_log, 0, VOTES + 1, ())).is_quiet
    with pytest.raises(asyncpg.UndefinedTableError):
        await issues.read(long_log, 1, VOTES + 1, ())
