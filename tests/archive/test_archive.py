"""A part of the log in the archive: nothing is lost, and whatever goes by stream or voter goes on as before."""

import asyncio
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events import ballots
from events.commands.ballots import CastVote
from events.commands.voters import CorrectVoters
from events.log import store
from events.log.archive import packing, reading, state
from events.log.archive.places import Folder, PlaceUnusable, place_of
from events.log.archive.present import Present, give_all_back, unarchive
from events.log.archive.state import ArchiveRefused, FileBroken
from events.log.committer import Committer
from events.log.export import export
from events.log.postgres import EventsArchived
from events.log.store import READ_LASTS
from events.log.transfer import LogBroken
from projections import history, hours, own_ballots, proof
from projections.cards import tallies_at_head
from projections.engine.runner import Halted
from services.cli.errors import sentence
from services.clock import now
from services.person import own
from tests.support.archiving import ALL, SIZE, VOTERS, archive, of_voters
from tests.support.catalogs import new_id
from tests.support.runners import CARDS, catch_up, catch_up_all, must_be_right
from tests.support.settings import OPERATOR, settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client
from tests.support.store import BUCKET, KEYS, Store

KEPT = "select count(*) from log.events_0 where type in ('VoteCast', 'VoteRetracted')"
LEFT = "select relname from pg_class where relname ~ '^events_[0-9]+_(kept|gone|whole)$' and relkind = 'r'"


async def streams_of(connection: Any) -> list[Any]:
    """Return every stream of the log."""
    return [row["stream"] for row in await connection.fetch("select distinct stream from log.events order by 1")]


def files_in(folder: Path) -> int:
    """Return the number of files in a folder."""
    return len([*folder.iterdir()])


async def test_decisions_find_every_streams_last_event(connection: Any, tmp_path: Path) -> None:
    """Whatever is archived, the last event of each stream is the one that it was, and a voter has all of its events."""
    streams = await streams_of(connection)
    lasts, of_all = await connection.fetch(READ_LASTS, streams), await of_voters(connection)
    for part in (0, 1):
        await archive(connection, tmp_path, part)
        assert await connection.fetch(READ_LASTS, streams) == lasts
        assert await of_voters(connection) == of_all
    assert await connection.fetchval(KEPT) == 0
    assert await connection.fetch(LEFT) == []


async def test_votes_go_on_from_archived_ones(connection: Any, committer: Committer, tmp_path: Path) -> None:
    """A vote that changes one in the archive says what it takes the place of, with the next version; the same again is none."""
    await archive(connection, tmp_path)
    row = await connection.fetchrow(
        "select b.stream, b.version, b.data->>'voter' as voter, b.data->>'tool' as tool, b.position"
        " from log.archived_ballots o cross join lateral log.archived_ballots_of(o.owner) b"
        " where b.type = 'VoteCast' and b.data->>'choice' = 'ship'"
        " and not exists (select from log.events e where e.stream = b.stream)"
        " and not exists (select from log.archived_ballots_of(o.owner) n where n.stream = b.stream and n.version > b.version)"
        " limit 1"
    )
    slug = await connection.fetchval("select data->>'slug' from log.events where data->>'tool' = $1 limit 1", row["tool"])
    same = await committer.submit(CastVote(row["voter"], slug, "ship"))
    assert (same.value.previous, same.position) == ("ship", row["position"])
    changed = await committer.submit(CastVote(row["voter"], slug, "skip"))
    assert changed.value.previous == "ship"
    stream = ballots.stream(row["voter"], row["tool"])
    assert stream == row["stream"]
    last = (await connection.fetch(READ_LASTS, [stream]))[0]
    assert (last["version"], last["position"]) == (row["version"] + 1, changed.position)


async def test_a_time_is_a_position_as_ever(connection: Any, tmp_path: Path) -> None:
    """Times of archived positions are exact."""
    rows = await connection.fetch("select position, recorded_at, log.position_at(recorded_at) as at from log.events order by 1")
    before = await connection.fetchval("select log.position_at($1)", rows[0]["recorded_at"] - timedelta(microseconds=1))
    await archive(connection, tmp_path)
    for row in rows[::7]:
        assert await connection.fetchval("select log.time_of($1)", row["position"]) == row["recorded_at"]
        assert await connection.fetchval("select log.position_at($1)", row["recorded_at"]) == row["at"]
    assert before == await connection.fetchval("select log.position_at($1)", rows[0]["recorded_at"] - timedelta(days=1)) == 0


async def test_a_mark_of_an_archived_event_still_holds(connection: Any, tmp_path: Path) -> None:
    """Nobody who knew an event takes the log for one that went back because the event was archived."""
    marks = await connection.fetch("select position, recorded_at, stream from log.events where position % 40 = 0")
    await archive(connection, tmp_path)
    for mark in marks:
        assert await connection.fetchval("select log.holds($1, $2, $3)", *mark)
        assert not await connection.fetchval("select log.holds($1, $2::timestamptz + interval '1 second', $3)", *mark)


async def test_what_comes_back_is_what_was_there(connection: Any, tmp_path: Path) -> None:
    """A part that is brought back is row by row what it was, with its key, its indexes and its guard; so it is in a bucket."""
    rows = await connection.fetch(ALL)
    indexes = "select indexname, indexdef from pg_indexes where tablename = 'events_0' order by 1"
    before = await connection.fetch(indexes)
    await archive(connection, tmp_path)
    assert (await connection.fetchval("select count(*) from log.events")) < len(rows)
    await unarchive(connection, 0)
    assert await connection.fetch(ALL) == rows
    assert await connection.fetch(indexes) == before
    assert await connection.fetchval("select count(*) from log.archived_ballots") == 0
    assert await connection.fetch(LEFT) == []
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await connection.execute("delete from log.events_0")
    assert (await state.read_all(connection))[0].state == "written"
    with pytest.raises(ArchiveRefused, match="isn't in the archive"):
        await unarchive(connection, 0)
    with pytest.raises(ArchiveRefused, match="The log has no part 7"):
        await unarchive(connection, 7)


async def test_a_bucket_serves_as_a_folder_does(connection: Any, s3: Store) -> None:
    """The same goes through an S3-compatible store, and nothing that is kept names its keys."""
    rows = await connection.fetch(ALL)
    kept = await archive(connection, f"s3://{BUCKET}/logs")
    with place_of(kept.place).open(kept.name) as file:
        assert kept.place == f"s3://{BUCKET}/logs" and len(file.read()) == kept.bytes
    assert all(value not in repr(kept) for name, value in KEYS.items() if name != "AWS_REGION")
    async with connection.transaction(isolation="repeatable_read"):
        assert [row.position async for row in reading.entries(connection, 5, SIZE + 5)] == [*range(5, SIZE + 6)]
    await unarchive(connection, 0)
    assert await connection.fetch(ALL) == rows


async def test_readers_by_position_are_told(connection: Any, tmp_path: Path) -> None:
    """A page or a follower that would miss archived ballots is told; what isn't about ballots is read as ever."""
    before = await store.read_on(connection, 0, 500, types=["ToolAdded", "ToolBookmarked"])
    stream = await connection.fetchval("select stream from log.events where type = 'VoteRetracted' and position < 150 limit 1")
    of_stream = await store.read_rows(connection, 0, 500, stream)
    await archive(connection, tmp_path)
    assert await store.read_on(connection, 0, 500, types=["ToolAdded", "ToolBookmarked"]) == before
    assert await store.read_rows(connection, 0, 500, stream) == of_stream
    assert (await store.read_rows(connection, SIZE, 5))[0].position == SIZE + 1
    for read in (
        store.read_rows(connection, SIZE - 1, 5),
        store.read_on(connection, 0, 5),
        store.read_on(connection, 0, 500, types=["VoteCast"]),
        store.search_rows(connection, SIZE + 5, 10, None, None, 20),
    ):
        with pytest.raises(EventsArchived):
            await read


async def test_an_export_and_a_tail_read_the_files(connection: Any, tmp_path: Path) -> None:
    """The export of a log of which parts are archived is the one that it was before; so are its events one after another."""
    before, after = io.BytesIO(), io.BytesIO()
    whole = await export(connection, before, now, lambda _, __: None)
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    again = await export(connection, after, now, lambda _, __: None, read=reading.entries)
    assert (again.sha256, again.events) == (whole.sha256, whole.events)
    seen: list[int] = []
    while rows := await reading.read_on(connection, len(seen), 70):
        seen += [row.position for row in rows]
    assert seen == [*range(1, whole.events + 1)]
    with pytest.raises(LogBroken, match="position"):
        await export(connection, io.BytesIO(), now, lambda _, __: None)


async def test_public_entries_are_those_of_before(connection: Any, tmp_path: Path) -> None:
    """Strangers read the same entries, and a visitor its own, of archived ballots too; these even with the file away."""
    entries = await proof.entries(connection, 0, 2 * SIZE)
    own = [await own_ballots.entries(connection, voter, 100) for voter in VOTERS]
    kept = await archive(connection, tmp_path)
    assert await proof.entries(connection, 0, 2 * SIZE) == entries
    assert await proof.entries(connection, 11, 12) == entries[11:12]
    (tmp_path / kept.name).unlink()
    assert [await own_ballots.entries(connection, voter, 100) for voter in VOTERS] == own
    with pytest.raises(PlaceUnusable):
        await proof.entries(connection, 0, SIZE)
    assert await proof.entries(connection, SIZE, SIZE + 10) == entries[SIZE : SIZE + 10]


async def test_corrections_and_copies_need_no_file(dsn: str, connection: Any, committer: Committer, tmp_path: Path) -> None:
    """Voters with archived ballots are taken out and brought back, and the views are those of a log that was never archived."""
    copies = [await own.read_own(connection, voter) for voter in VOTERS]
    for part in (0, 1):
        kept = await archive(connection, tmp_path, part)
        (tmp_path / kept.name).rename(tmp_path / f"away-{part}")
    assert [await own.read_own(connection, voter) for voter in VOTERS] == copies
    for reinstate in (False, True, False):
        await committer.submit(
            CorrectVoters(new_id(), VOTERS[:20], "one hand", tallies_at_head, reinstate=reinstate, operator="shell")
        )
        await catch_up_all(dsn)
    for archived in await state.read_all(connection):
        (tmp_path / f"away-{archived.part}").rename(tmp_path / archived.name)
    async with Present(dsn) as present, present.reader() as reader:
        await reader.ensure(0, 2 * SIZE)
        await must_be_right(connection, dsn)


async def test_whole_hours_of_the_past_need_no_file(dsn: str, connection: Any, tmp_path: Path) -> None:
    """A tally at the end of an hour that is archived is told as before; within it, that its votes are in the archive."""
    tool = await connection.fetchval("select data->>'tool' from log.events where type = 'ToolAdded' limit 1")
    times = [row["recorded_at"] for row in await connection.fetch("select recorded_at from log.events order by position")]
    whole = [times[0].replace(minute=0, second=0, microsecond=0) + timedelta(hours=after) for after in (0, 1, 2)]
    before = [await hours.as_of(connection, tool, time, corrected=corrected) for time in whole for corrected in (False, True)]
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    after = [await hours.as_of(connection, tool, time, corrected=corrected) for time in whole for corrected in (False, True)]
    assert after == before
    with pytest.raises(EventsArchived):
        await hours.as_of(connection, tool, times[90], corrected=False)
    with pytest.raises(EventsArchived):
        await hours.at(connection, tool, 91)
    with pytest.raises(EventsArchived):
        await history.read_changes(connection, tool, 2 * SIZE, [])


async def test_a_view_that_needs_archived_events_halts_and_says_so(dsn: str, connection: Any, tmp_path: Path) -> None:
    """A fold without the files stops at the first archived event and names the way out; it takes no hole for the log's end."""
    await archive(connection, tmp_path)
    await connection.execute(f"update {CARDS.schema}.checkpoint set position = 50")  # noqa: S608 - our own name
    with pytest.raises(Halted, match="in the archive"):
        await catch_up(dsn, CARDS)


async def test_what_is_away_is_said(connection: Any, tmp_path: Path) -> None:
    """Whoever needs archived events by position is told which they are and how they are loaded."""
    await archive(connection, tmp_path)
    assert await connection.fetchval("select log.must_be_here($1, $2)", SIZE, SIZE + 5)
    for needs in ("log.must_be_here($1, $2)", "count(*) from log.taken($1, $2)", "count(*) from log.changes_taken($1, $2)"):
        with pytest.raises(EventsArchived, match="positions 1 to 200 are in the archive") as away:
            await connection.fetch(f"select {needs}", SIZE - 1, SIZE)
        assert away.value.hint == "`ballotpress events unarchive 0` brings them back"
        assert sentence(away.value) == (
            "the events at positions 1 to 200 are in the archive: `ballotpress events unarchive 0` brings them back"
        )


async def test_the_api_names_what_is_away(dsn: str, valkey_url: str, connection: Any, tmp_path: Path) -> None:
    """Who asks the site for archived events is told which they are, the command that brings them back, and what needs none."""
    await archive(connection, tmp_path)
    given = settings(dsn, valkey_url)
    signed_in = {"cookie": await session_cookie(given, OPERATOR), "accept": "text/html"}
    async with client(given) as site:
        answer = await site.get("/v1/ops/events?limit=1", headers={"authorization": f"Bearer {OPERATOR.token}"})
        page = await site.get("/ops/log?before=3", headers=signed_in)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/archived")
    assert answer.json()["detail"] == (
        "The events at positions 1 to 200 are in the archive: `ballotpress events unarchive 0` brings them back. "
        "What is asked as of a whole hour needs none of them."
    )
    assert page.status_code == 503 and "whole hour needs none" in page.text and "in a moment" not in page.text


@pytest.mark.parametrize(
    ("part", "options", "words"),
    [
        (7, {}, "no part 7"),
        (2, {}, "isn't full yet"),
        (0, {"readers": [packing.Reader("Somebody", 199, "ask them")]}, "Somebody has come to position 199, .* ask them"),
        (0, {"young": False}, "events of the last 45 days"),
    ],
)
async def test_a_part_that_is_needed_stays(
    connection: Any, tmp_path: Path, part: int, options: dict[str, Any], words: str
) -> None:
    """A part that isn't full, is young, or is still to be read isn't archived, and no file is written."""
    with pytest.raises(ArchiveRefused, match=words):
        await archive(connection, tmp_path / "kept", part, **options)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("view", "advice"),
    [("cards_1", "wait for it, or do what `ballotpress status` says"), ("cards_4_prev", "drop schema cards_4_prev cascade")],
)
async def test_a_view_that_is_behind_holds_a_part_back(connection: Any, tmp_path: Path, view: str, advice: str) -> None:
    """What follows the log by position must have passed the part; one that never will is told how to go."""
    await connection.execute(f"create schema {view}; create table {view}.checkpoint as select 5::bigint as position")
    with pytest.raises(ArchiveRefused, match=f"view {view} has come to position 5, .*{advice}"):
        await archive(connection, tmp_path)


async def test_a_file_that_comes_back_wrong_leaves_all_as_it_was(
    connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that loses or changes a byte is noticed before anything is taken away."""
    rows = await connection.fetch(ALL)
    real = Folder.write

    def spoil(self: Folder, name: str, source: Path) -> None:
        source.write_bytes(source.read_bytes()[:-200])
        real(self, name, source)

    monkeypatch.setattr(Folder, "write", spoil)
    with pytest.raises(FileBroken, match="parquet"):
        await archive(connection, tmp_path)
    assert await connection.fetch(ALL) == rows and not await state.read_all(connection)


async def test_a_part_whose_file_is_gone_or_changed_stays_packed(connection: Any, tmp_path: Path) -> None:
    """Loading says what is wrong with the file and leaves everything as it is; once the file is mended, it works."""
    rows, streams = await connection.fetch(ALL), await streams_of(connection)
    kept = await archive(connection, tmp_path)
    lasts = await connection.fetch(READ_LASTS, streams)
    file = tmp_path / kept.name
    content = file.read_bytes()
    for spoiled, error, words in (
        (None, PlaceUnusable, "isn't there: put it back"),
        (content[:-9], FileBroken, "changed or cut short"),
        (content[:3000] + bytes([content[3000] ^ 1]) + content[3001:], FileBroken, "changed or cut short"),
    ):
        file.unlink(missing_ok=True) if spoiled is None else file.write_bytes(spoiled)
        with pytest.raises(error, match=words):
            await unarchive(connection, 0)
        assert (await state.read_all(connection))[0].state == "packed"
        assert await connection.fetch(LEFT) == [] and await connection.fetch(READ_LASTS, streams) == lasts
    file.write_bytes(content)
    await unarchive(connection, 0)
    assert await connection.fetch(ALL) == rows


async def test_the_file_of_another_part_is_refused(connection: Any, tmp_path: Path) -> None:
    """A whole file of ours with other events is told by its hash."""
    first, second = await archive(connection, tmp_path, 0), await archive(connection, tmp_path, 1)
    (tmp_path / second.name).rename(tmp_path / first.name)
    with pytest.raises(FileBroken, match="isn't the file that was archived"):
        await unarchive(connection, 0)


async def test_two_at_once_archive_a_part_once(dsn: str, connection: Any, tmp_path: Path) -> None:
    """The second waits for the first, and is told that it is done."""
    other = await asyncpg.connect(dsn)
    found = await asyncio.gather(*(archive(one, tmp_path) for one in (connection, other)), return_exceptions=True)
    await other.close()
    assert sorted(type(one).__name__ for one in found) == ["Archive", "ArchiveRefused"]
    assert files_in(tmp_path) == 1


async def test_a_run_that_fails_anywhere_is_taken_up(connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step a run ends at, the log is whole, and the next run does all of it."""
    rows, streams = await connection.fetch(ALL), await streams_of(connection)
    lasts = await connection.fetch(READ_LASTS, streams)

    class Power(BaseException):
        pass

    for step in ("writing", "storing", "reading it back", "packing"):

        def report(what: str, step: str = step) -> None:
            if what == step:
                raise Power

        with pytest.raises(Power):
            await packing.archive(connection, 0, packing.Filing(Folder(tmp_path), now, report), young=True)
        assert await connection.fetch(ALL) == rows and await connection.fetch(READ_LASTS, streams) == lasts
    await connection.execute("select log.prepare_packing(0)")  # a run that ended before the swap leaves this
    await archive(connection, tmp_path)
    assert await connection.fetch(READ_LASTS, streams) == lasts and await connection.fetch(LEFT) == []
    assert files_in(tmp_path) == 1


async def test_a_part_is_there_for_as_long_as_somebody_reads(dsn: str, connection: Any, tmp_path: Path) -> None:
    """Two readers have a part while either reads, and nothing shows that it ever was away. What a kill leaves is given back."""
    rows, of_all = await connection.fetch(ALL), await of_voters(connection)
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    async with Present(dsn) as one, one.reader() as first:
        await first.ensure(0, 10)
        assert [row.state for row in await state.read_all(connection)] == ["loaded", "packed"]
        assert await of_voters(connection) == of_all
        async with Present(dsn) as other, other.reader() as second:
            await second.ensure(0, SIZE + 1)
            assert await connection.fetch(ALL) == rows
            await first.ensure(SIZE, SIZE + 10)
            assert await connection.fetch(ALL) == rows
        assert [row.state for row in await state.read_all(connection)] == ["loaded", "loaded"]
    assert [row.state for row in await state.read_all(connection)] == ["packed", "packed"]
    assert await connection.fetch(LEFT) == [] and await of_voters(connection) == of_all
    killed = Present(dsn)
    async with killed.reader() as reader:
        await reader.ensure(0, 5)
    killed._connection.terminate()
    while (await state.read_all(connection))[0].state == "loaded":
        await give_all_back(connection)
    assert await connection.fetch(LEFT) == [] and await of_voters(connection) == of_all
