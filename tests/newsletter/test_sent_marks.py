"""Marks outside the database: whatever a restored ledger says, no mail is sent twice and none is forgotten."""

import asyncio
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.clock import now
from services.newsletter import ledger, restored
from services.newsletter.restored import doubt
from services.newsletter.schedule import schedule_of
from services.newsletter.sent_marks import (
    BEHIND,
    FOLDER,
    ID,
    KEEP,
    SINGLES,
    MarksUnusable,
    SentMarks,
    forget_folder,
    forget_old,
    marks_folder,
    marks_in,
    read_group,
)
from tests.support import catalogs
from tests.support.disks import mounted
from tests.support.marked import go_back, got, lose_issues, mark_in
from tests.support.newsroom import Newsroom

READERS = 12
WAS = "select number, edition, due_at, extra from newsletter.issues"


@pytest.fixture
def marks(room: Newsroom, tmp_path: Path) -> Path:
    """Let the newsroom's sender keep marks; return their folder."""
    folder = tmp_path / "sent-marks"
    mark_in(room, folder)
    return folder


async def planned(room: Newsroom) -> int:
    """Plan an issue for some readers, whose single mails have gone out."""
    await room.import_tools(catalogs.tool("alpha"))
    for n in range(READERS):
        await room.subscribe(f"reader{n}@example.com")
    await room.project()
    await room.deliver()
    return await room.send_now()


def files(marks: Path) -> list[Path]:
    """Return the files of marks."""
    return sorted(marks.rglob("*.marks"))


async def test_what_was_sent_in_the_lost_time_is_uncertain_and_the_rest_is_sent(room: Newsroom, marks: Path) -> None:
    """A ledger restored to before the send: who got the issue is doubted, who didn't gets it, and the accounts add up."""
    number = await planned(room)
    first = await ledger.claim(room.database, "other", 30, 5)
    assert await SentMarks(marks).about_to(room.database, "other", first, now()) == {}
    await go_back(room, number)
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": READERS - 5, "uncertain": 5}
    assert set((await room.reasons(number)).values()) == {BEHIND}
    assert set(got(room).values()) == {1} and len(got(room)) == READERS - 5


async def test_a_worker_that_begins_doubts_at_once_what_is_marked(room: Newsroom, marks: Path) -> None:
    """Before anything is sent, every pending mail that a mark names is uncertain, once and for all, also single mails."""
    await room.sign_up("not-yet-confirmed@example.com")
    number = await planned(room)
    await room.deliver()
    singles = await room.database.fetchval("select count(*) from newsletter.mails where issue = 0 and state = 'accepted'")
    await go_back(room, number)
    await go_back(room, 0)
    assert await doubt(room.database, marks) == READERS + singles > READERS
    assert await room.accounts(number) == {"uncertain": READERS}
    assert await doubt(room.database, marks) == 0


async def test_a_ledger_that_is_whole_is_left_alone(room: Newsroom, marks: Path) -> None:
    """A mail that was put off, or whose relay is away, waits as it did: the ledger has counted its claims."""
    room.sink.rcpt = lambda recipient: "451 later"
    number = await planned(room)
    await room.deliver()
    before = await room.accounts(number)
    assert before == {"deferred": READERS}
    assert await doubt(room.database, marks) == 0
    room.sink.rcpt = lambda recipient: "250 ok"
    await room.database.execute("update newsletter.mails set not_before = now()")
    await room.database.execute("delete from newsletter.slowdowns")
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": READERS}


async def test_an_issue_that_is_compiled_anew_takes_over_the_marks_of_its_period(room: Newsroom, marks: Path) -> None:
    """The restored database gives the period's issue another number; who got it under the first doesn't get it again."""
    number = await planned(room)
    await room.deliver()
    (was,) = await room.database.fetch(WAS)
    await room.database.execute("delete from newsletter.mails where issue = $1", number)
    await room.database.execute("delete from newsletter.issues")
    await room.database.execute("delete from newsletter.periods")
    ada = await room.subscribe("ada@example.com")
    await room.project()
    mark_in(room, marks)
    await room.database.execute(
        "insert into newsletter.issues (number, edition, due_at, from_position, to_position, period_from, compiled_at, content,"
        " content_hash, state) select 7, 'monthly', now() - interval '60 days', 0, 0, now(), now(), '{}', '', 'settled'"
    )
    again = await room.send_now()
    (is_,) = await room.database.fetch(WAS + " where edition = 'weekly'")
    assert again == 8 != number and is_["due_at"] == was["due_at"]
    await room.deliver()
    assert await room.accounts(again) == {"accepted": 1, "uncertain": READERS}
    assert set(got(room).values()) == {1} and got(room)["ada@example.com"] == 1
    assert [one.reader for one in await ledger.outcomes(room.database, again, ada)] == [ada]


@pytest.mark.parametrize("hours", [2, 23])
async def test_an_issue_whose_hour_is_another_now_takes_over_the_marks_of_the_lost_one(
    room: Newsroom, marks: Path, hours: int
) -> None:
    """The new machine's settings lack the hour or the zone: who got the lost issue doesn't get the one of the same time."""
    await planned(room)
    await room.deliver()
    (was,) = await room.database.fetch(WAS)
    await lose_issues(room)
    await room.subscribe("ada@example.com")
    await room.project()
    room.schedule = schedule_of(replace(room.settings.newsletter, hour=(room.settings.newsletter.hour + hours) % 24))
    again = await room.send_now()
    (is_,) = await room.database.fetch(WAS)
    assert is_["due_at"] != was["due_at"]
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(again) == {"accepted": 1, "uncertain": READERS}
    assert set(got(room).values()) == {1} and got(room)["ada@example.com"] == 1


async def test_the_issue_after_one_that_was_lost_long_ago_is_sent(room: Newsroom, marks: Path) -> None:
    """Marks from before an issue's time say nothing of it, though the ledger lacks theirs."""
    await planned(room)
    await room.deliver()
    await lose_issues(room)
    await room.database.execute("update newsletter.schedule set since = now() + interval '1 second'")
    await room.database.execute("select pg_sleep(1)")
    room.schedule = schedule_of(replace(room.settings.newsletter, hour=(room.settings.newsletter.hour + 2) % 24))
    again = await room.send_now()
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(again) == {"accepted": READERS}


async def test_a_worker_under_which_the_ledger_went_back_doubts_and_holds(room: Newsroom, marks: Path) -> None:
    """It sent before the restore and looks again after it: the newsletter is held, and what it had sent is uncertain."""
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    await room.sender.turn()
    assert await room.accounts(number) == {"uncertain": READERS}
    assert await room.database.fetchval("select held from newsletter.schedule")
    assert set(got(room).values()) == {1}


async def test_an_operators_word_is_kept(room: Newsroom, marks: Path) -> None:
    """Doubted mails that are sent again are sent, and after the next start nobody doubts them anew."""
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    await doubt(room.database, marks)
    assert await ledger.resolve(room.database, number, "resend") == READERS
    assert await doubt(room.database, marks) == 0
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": READERS}
    assert set(got(room).values()) == {2}


async def test_a_marked_mail_without_a_row_is_accounted_for(room: Newsroom, marks: Path) -> None:
    """A reader whose row is lost while the issue's others are there stands in the accounts as uncertain."""
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    await room.database.execute(
        "delete from newsletter.mails where issue = $1"
        " and reader = (select min(reader) from newsletter.mails where issue = $1)",
        number,
    )
    await room.database.execute("update newsletter.issues set planned = planned - 1 where number = $1", number)
    assert await doubt(room.database, marks) == READERS
    assert await room.accounts(number) == {"uncertain": READERS}


async def test_two_workers_know_each_others_marks(room: Newsroom, marks: Path) -> None:
    """What one worker marked after another had read the folder is known to the other."""
    number = await planned(room)
    claimed = await ledger.claim(room.database, "a", 30, READERS)
    one, two = SentMarks(marks), SentMarks(marks)
    assert await two.about_to(room.database, "a", claimed[:1], now()) == {}
    assert await one.about_to(room.database, "a", claimed[1:], now()) == {}
    assert await two.about_to(room.database, "b", claimed, now()) == dict.fromkeys(claimed, 1)
    assert await room.accounts(number) == {"attempting": READERS}


async def test_marks_hold_no_address_and_no_name(room: Newsroom, marks: Path) -> None:
    """A mark is a time, a claim, an issue's number, and ids."""
    await planned(room)
    await room.deliver()
    content = b"".join(file.read_bytes() for file in files(marks))
    assert content and b"@" not in content and b"reader0" not in content


async def test_a_torn_last_line_marks_nothing_and_a_damaged_one_stops_the_sending(room: Newsroom, marks: Path) -> None:
    """A line that was cut by a power failure was never attempted; damage amid others means that nobody knows."""
    number = await planned(room)
    claimed = await ledger.claim(room.database, "a", 30, 4)
    for some in (claimed[:2], claimed[2:]):
        await SentMarks(marks).about_to(room.database, "a", some, now())
    first, second = (file for file in files(marks) if file.parent.name != SINGLES)
    group = first.parent
    first.write_bytes(first.read_bytes()[:-7])
    assert len(list(read_group(marks, group.name))) == 2
    second.write_bytes(b"2026-11-27T12:00:00Z torn\n" + second.read_bytes())
    with pytest.raises(MarksUnusable, match=second.name):
        list(read_group(marks, group.name))
    await go_back(room, number)
    mark_in(room, marks)
    await room.sender.turn()
    assert await room.accounts(number) == {"deferred": READERS} and not got(room)


async def test_without_room_for_a_mark_nothing_is_sent(room: Newsroom, tmp_path: Path) -> None:
    """A folder that can't be written keeps every mail waiting, with the reason, and the worker says so."""
    number = await planned(room)
    (tmp_path / "file").write_text("")
    mark_in(room, tmp_path / "file" / "marks")
    await room.deliver()
    assert await room.accounts(number) == {"deferred": READERS} and not got(room)
    assert set((await room.reasons(number)).values()) == {"the send marks can't be written or read"}
    assert room.sender.trouble is not None and "without its marks nothing is sent" in room.sender.trouble


async def test_a_mail_that_is_put_off_is_still_held_to_its_mark(room: Newsroom, marks: Path) -> None:
    """A claim that ended before the marks were asked isn't counted, so the next one isn't taken for one after the mark."""
    await planned(room)
    await room.deliver()
    await lose_issues(room)
    room.schedule = schedule_of(replace(room.settings.newsletter, hour=(room.settings.newsletter.hour + 2) % 24))
    again = await room.send_now()
    mark_in(room, marks)
    for _ in range(2):
        await room.database.execute(
            "insert into newsletter.slowdowns (name, until, step) values ('example.com', now() + interval '1 hour', 1)"
        )
        await room.deliver()
        assert await room.accounts(again) == {"deferred": READERS}
        await room.database.execute("delete from newsletter.slowdowns")
        await room.database.execute("update newsletter.mails set not_before = now() where issue > 0")
    await room.deliver()
    assert await room.accounts(again) == {"uncertain": READERS} and set(got(room).values()) == {1}


async def test_a_disk_that_isnt_mounted_isnt_an_empty_one(room: Newsroom, tmp_path: Path) -> None:
    """The database knows the folder that the settings name: without it nothing is sent, until it is back or said to be lost."""
    marks = tmp_path / "disk" / "sent-marks"
    room.sender = room.new_sender(marks=SentMarks(marks, is_named=True))
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    (tmp_path / "disk").rename(tmp_path / "away")
    for has_another in (False, True):
        if has_another:
            (marks / SINGLES).mkdir(parents=True)
        await room.database.execute("update newsletter.mails set not_before = now() where issue > 0")
        room.sender = room.new_sender(marks=SentMarks(marks, is_named=True))
        await room.deliver()
        assert set(await room.accounts(number)) == {"deferred"} and set(got(room).values()) == {1}
        assert room.sender.trouble is not None and "mount its disk" in room.sender.trouble
    shutil.rmtree(tmp_path / "disk")
    (tmp_path / "away").rename(tmp_path / "disk")
    room.sender = room.new_sender(marks=SentMarks(marks, is_named=True))
    await room.database.execute("update newsletter.mails set not_before = now() where issue > 0")
    await room.deliver()
    assert await room.accounts(number) == {"uncertain": READERS} and set(got(room).values()) == {1}


async def test_a_folder_that_is_lost_is_followed_by_another(room: Newsroom, tmp_path: Path) -> None:
    """Two workers that begin at once agree on it; once an operator says that it is lost, the next one is known."""
    one, two = SentMarks(tmp_path / "1", is_named=True), SentMarks(tmp_path / "1", is_named=True)
    await asyncio.gather(one.must_be_known(room.database), two.must_be_known(room.database))
    assert [path.name for path in (tmp_path / "1").iterdir()] == [ID]
    other = SentMarks(tmp_path / "2", is_named=True)
    with pytest.raises(MarksUnusable, match="marks-lost"):
        await other.must_be_known(room.database)
    await forget_folder(room.database)
    await other.must_be_known(room.database)


async def test_a_home_folder_that_cant_be_written_any_more_sends_nothing(room: Newsroom) -> None:
    """A disk that went read-only after an error keeps its marks in force: mails wait, and nobody gets one twice."""
    with mounted(1) as home:
        settings = replace(room.settings, home=home)
        folder = marks_folder(settings)
        assert folder == home / FOLDER
        mark_in(room, folder)
        number = await planned(room)
        await room.deliver()
        await go_back(room, number)
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", str(home)], check=True)
        mark_in(room, marks_folder(settings))
        await room.deliver()
        assert await room.accounts(number) == {"uncertain": READERS} and set(got(room).values()) == {1}
        await room.sign_up("ada@example.com")
        await room.deliver()
        assert room.sender.trouble is not None and "without its marks nothing is sent" in room.sender.trouble


def test_old_marks_are_removed(tmp_path: Path) -> None:
    """A file goes when its last mark is older than any backup that is worth restoring, and a group with its last file."""
    old, young = (now() - KEEP - timedelta(days=1)).timestamp(), (now() - KEEP + timedelta(days=1)).timestamp()
    kept = []
    for group, ages in (("weekly-20260101T090000Z-0", [old, old]), ("singles", [old, young]), ("relay", [young])):
        (tmp_path / group).mkdir()
        for n, then in enumerate(ages):
            file = tmp_path / group / f"{n:016x}.marks"
            file.write_bytes(b"")
            os.utime(file, (then, then))
            kept += [file] if then == young else []
    forget_old(tmp_path)
    assert files(tmp_path) == sorted(kept)
    assert {folder.name for folder in tmp_path.iterdir()} == {"singles", "relay"}


def test_what_stands_beside_the_marks_is_left_alone(tmp_path: Path) -> None:
    """The folder may be a disk that holds backups and other people's files: nothing but marks is ever removed."""
    strange = [
        "backup-20260101T090000Z/base.tar.gz",
        "wal-20260101T090000Z/0001",
        "photos/a.jpg",
        "photos/my.marks",
        "note.marks",
    ]
    strange += ["weekly-20260101T090000Z-0/my.txt", "singles/mine.marks"]
    then = (now() - KEEP - timedelta(days=1)).timestamp()
    for name in strange:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (then, then))
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "relay").symlink_to(tmp_path / "photos")
    forget_old(tmp_path)
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()) == sorted(strange)
    assert (tmp_path / "lost+found").is_dir()


def test_a_mark_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """The format is read for as long as marks are kept: it never changes."""
    line = (
        b"2026-11-27T12:00:00Z c1aim 7:AaIVsTR5fmSaI9BzfiWzhA::2 0:AaIVsTR5fmSaI9BzfiWzhA:AaIVsmySduywQjzu5ivZ6w:1 53c780da\n"
    )
    marked = list(marks_in(line, tmp_path))
    assert [(one.issue, one.mail, one.claims) for one in marked] == [(7, "", 2), (0, "AaIVsmySduywQjzu5ivZ6w", 1)]
    assert restored.AT_ONCE > ledger.CHUNK
