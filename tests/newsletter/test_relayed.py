"""Doubted mails settled by the relay's own record: a real Postfix's log, and lists of Message-IDs."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from emails.relay_log import RelayLog, read_relay_log
from emails.smtp import Relay
from services.clock import now
from services.newsletter import ledger
from services.newsletter.relayed import ON_ITS_WAY, MarksNowhere, settle
from services.newsletter.restored import doubt
from services.newsletter.schedule import schedule_of
from services.newsletter.sent_marks import SentMarks, line_of, marks_in
from services.newsletter.transport import RelayTransport
from tests.support import catalogs
from tests.support.marked import go_back, got, lose_issues, mark_in
from tests.support.newsroom import Newsroom
from tests.support.postfix import Postfix, postfix

READERS = 6


@pytest.fixture
def relay() -> Iterator[Postfix]:
    """A Postfix that takes all mails."""
    with postfix() as running:
        yield running


async def planned(room: Newsroom) -> int:
    """Plan an issue for some readers."""
    await room.import_tools(catalogs.tool("alpha"))
    for n in range(READERS):
        await room.subscribe(f"reader{n}@example.com")
    await room.project()
    await room.deliver()
    return await room.send_now()


async def send_some(room: Newsroom, relay: Postfix, marks: Path, most: int) -> None:
    """Let a worker send some mails of an issue through Postfix, and mark some more that it didn't come to send."""
    name = "lost-worker"
    claimed = await ledger.claim(room.database, name, 30, most + 1)
    assert await SentMarks(marks).about_to(room.database, name, claimed, now()) == {}
    letters = await room.letters.write(claimed, now())
    async with Relay(f"smtp://127.0.0.1:{relay.port}", 1) as open_relay:
        for mail in claimed[:most]:
            letter = letters[mail]
            assert (await RelayTransport(open_relay, None).deliver(letter)).kind == "accepted"  # type: ignore[arg-type]


async def test_what_postfix_took_is_accepted_and_what_it_never_received_is_sent(
    room: Newsroom, relay: Postfix, tmp_path: Path
) -> None:
    """After a restore: three went out, one was about to, two waited; in the end each reader has exactly one."""
    marks = tmp_path / "sent-marks"
    number = await planned(room)
    await send_some(room, relay, marks, 3)
    await go_back(room, number)
    assert await doubt(room.database, marks) == 4
    log = relay.whole_log(lambda text: text.count("status=sent") >= 3)
    settled = await settle(room.database, marks, number, read_relay_log([log], now()), now())
    assert (settled.accepted, settled.freed, settled.doubt) == (3, 0, 1)
    assert settled.why is not None and "may have been on their way" in settled.why
    later = now() + ON_ITS_WAY + timedelta(seconds=1)
    goes_on = tmp_path / "goes-on"
    goes_on.write_text(line_at(later))
    settled = await settle(room.database, marks, number, read_relay_log([log, goes_on], later), later)
    assert (settled.accepted, settled.freed, settled.doubt) == (0, 1, 0)
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(number) == {"accepted": READERS}
    assert len(got(room)) == READERS - 3 and set(got(room).values()) == {1}


async def test_a_new_machine_without_marks_is_told_by_the_relay(room: Newsroom, relay: Postfix, tmp_path: Path) -> None:
    """The issue that went out isn't in the restored ledger: what the relay took of it is marked, and isn't sent again."""
    lost = tmp_path / "lost"
    number = await planned(room)
    await send_some(room, relay, lost, 3)
    log = relay.whole_log(lambda text: text.count("(queue active)") >= 3)
    record = read_relay_log([log], now())
    await lose_issues(room)
    with pytest.raises(MarksNowhere, match="BALLOTPRESS_SENT_MARKS_DIR"):
        await settle(room.database, None, number, record, now())
    marks = tmp_path / "sent-marks"
    settled = await settle(room.database, marks, number, record, now())
    assert (settled.unknown, settled.accepted) == (3, 0)
    again = await room.send_now()
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(again) == {"accepted": READERS - 3, "uncertain": 3}
    assert set(got(room).values()) == {1}
    settled = await settle(room.database, marks, again, record, now())
    assert settled.accepted == 3
    assert await room.accounts(again) == {"accepted": READERS}


async def test_what_a_log_doesnt_cover_stays_in_doubt(room: Newsroom, tmp_path: Path) -> None:
    """A log that begins too late, ends too early, or is a mere list frees nothing, and says what to do."""
    marks = tmp_path / "sent-marks"
    mark_in(room, marks)
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    await doubt(room.database, marks)
    hour, at = timedelta(hours=1), _last_mark(marks)
    ids = sorted(room.letters.message_id(mail).strip("<>") for mail in await _claimed(room, number))
    some = dict.fromkeys(ids[:2], now())
    for taken, times, why in (
        ({}, [at - hour, at, at + hour], "may be another relay's"),
        (some, [at + hour, at + 2 * hour], "the older one too"),
        (some, [at - 2 * hour, at], "may have been on their way"),
        (some, [at - hour, at + hour], "no line at"),
        (dict.fromkeys(ids[:1], now()), [at - hour, at, at + hour], "lacks mails of the issue that were taken, 1 in number"),
        (some, [], "whether it is whole"),
    ):
        settled = await settle(room.database, marks, number, RelayLog(taken, times), at)
        assert settled.freed == 0 and settled.why is not None and why in settled.why
    assert await room.accounts(number) == {"accepted": 2, "uncertain": READERS - 2}
    settled = await settle(room.database, marks, number, RelayLog(some, [at - hour, at, at + hour]), at)
    assert (settled.accepted, settled.freed, settled.why) == (0, READERS - 2, None)


async def test_logs_that_know_nothing_of_the_issue_send_nothing_twice(room: Newsroom, tmp_path: Path) -> None:
    """Another machine's log, one cut off at the last mark, one with a file missing, one by another zone's clock."""
    marks = tmp_path / "sent-marks"
    mark_in(room, marks)
    number = await planned(room)
    await room.deliver()
    await go_back(room, number)
    await doubt(room.database, marks)
    hour, at = timedelta(hours=1), _last_mark(marks)
    for n, times in enumerate(([at - hour, at + hour], [at - hour, at], [at - 72 * hour, at + hour])):
        log = tmp_path / f"mail.log.{n}"
        log.write_text("".join(map(line_at, times)))
        settled = await settle(room.database, marks, number, read_relay_log([log], at + 2 * hour), at)
        assert (settled.accepted, settled.freed, settled.doubt) == (0, 0, READERS)
    mark_in(room, marks)
    await room.deliver()
    assert await room.accounts(number) == {"uncertain": READERS} and set(got(room).values()) == {1}


async def test_the_marks_of_a_lost_issue_with_another_hour_are_settled_too(room: Newsroom, tmp_path: Path) -> None:
    """The number that the issue had is in the marks of the period that the ledger lacks."""
    marks = tmp_path / "sent-marks"
    mark_in(room, marks)
    number = await planned(room)
    await room.deliver()
    ids = {
        room.letters.message_id(mail).strip("<>").replace(f"-{number}.", "-70."): None for mail in await _claimed(room, number)
    }
    for file in (file for file in marks.rglob("*.marks") if file.parent.name != "singles"):
        old = [replace(one, issue=70) for one in marks_in(file.read_bytes(), file)]
        file.write_bytes(line_of("lost", old, now()))
    await lose_issues(room)
    room.schedule = schedule_of(replace(room.settings.newsletter, hour=(room.settings.newsletter.hour + 2) % 24))
    again = await room.send_now()
    mark_in(room, marks)
    await room.deliver()
    settled = await settle(room.database, marks, again, RelayLog(ids, ()), now())
    assert settled.accepted == READERS and set(got(room).values()) == {1}


async def test_an_issue_with_another_number_is_settled_by_the_number_it_had(room: Newsroom, tmp_path: Path) -> None:
    """The relay knows the mails by the lost issue's number, and the marks of its period say which that was."""
    marks = tmp_path / "sent-marks"
    mark_in(room, marks)
    number = await planned(room)
    await room.deliver()
    ids = {room.letters.message_id(mail).strip("<>"): None for mail in await _claimed(room, number)}
    await room.database.execute("delete from newsletter.mails where issue = $1", number)
    await room.database.execute(
        "update newsletter.issues set number = 90, state = 'settled', operator = null, due_at = due_at - interval '90 days',"
        " compiled_at = compiled_at - interval '90 days'"
    )
    await room.database.execute("delete from newsletter.periods")
    again = await room.send_now()
    assert again == 91
    await doubt(room.database, marks)
    settled = await settle(room.database, marks, again, RelayLog(ids, ()), now())
    assert settled.accepted == READERS


def _last_mark(marks: Path) -> datetime:
    return max(one.at for file in marks.glob("weekly-*/*.marks") for one in marks_in(file.read_bytes(), file))


def line_at(at: datetime) -> str:
    """Return a line of Postfix's log that says nothing of any mail."""
    return f"{at.astimezone().isoformat(timespec='seconds')} mx postfix/smtpd[1]: connect from unknown[192.0.2.1]\n"


async def _claimed(room: Newsroom, number: int) -> list[ledger.ClaimedMail]:
    rows = await room.database.fetch("select reader from newsletter.mails where issue = $1", number)
    empty = ledger.ClaimedMail
    plain = {"issue": number, "mail": "", "kind": "digest", "attempts": 1, "claims": 1, "round": 1, "address": ""}
    fields = dict.fromkeys(empty.__struct_fields__) | plain
    return [empty(**{**fields, "reader": row["reader"]}) for row in rows]
