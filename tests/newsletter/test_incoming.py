"""Bounces that come by mail in a flood: none is lost, each counts once, and voting and sending go on meanwhile."""

import asyncio
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest

from services.newsletter import incoming, reports
from services.newsletter.incoming import Taken, mails_of, take_maildir, take_mbox
from services.newsletter.reports import Report, ReportResult
from tests.support import catalogs
from tests.support.mails import BOUNCE
from tests.support.newsroom import Newsroom
from tests.support.sending import planned, run
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside

FLOOD = int(os.environ.get("BALLOTPRESS_TEST_FLOOD", "150"))
"""Bounces at once."""
PERSON = b"From: Ana <ana@example.net>\nTo: digest@verdicts.example\nSubject: Thank you\n\nI like it.\n"


def maildir(folder: Path, mails: Sequence[bytes]) -> Path:
    """Deliver mails into a Maildir."""
    for part in ("new", "cur", "tmp"):
        (folder / part).mkdir(parents=True)
    for number, mail in enumerate(mails):
        (folder / "new" / f"1795000000.M{number}.mx").write_bytes(mail)
    return folder


def bounces(number: int, readers: Sequence[str]) -> list[bytes]:
    """Return a hard bounce of an issue's mail for each reader."""
    return [BOUNCE % f"<issue-{number}.{reader}@verdicts.example>".encode() for reader in readers]


async def suppressed(room: Newsroom) -> int:
    """Return how many addresses are suppressed."""
    count: int = await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null")
    return count


async def applied(room: Newsroom, found: Sequence[Report]) -> Sequence[ReportResult]:
    """Commit reports."""
    return await reports.apply(room.database, room.committer, await room.vault.finder(room.database), found)


async def test_a_flood_is_taken_while_votes_and_mails_go_on(room: Newsroom, tmp_path: Path) -> None:
    """Every bounce suppresses its reader, votes are counted and an issue goes out meanwhile, and the mails lie in `cur`."""
    await room.import_tools(catalogs.tool("ollama"))
    number, readers = await planned(room, FLOOD)
    await room.deliver()
    later = await room.send_now(extra=True)
    folder = maildir(tmp_path / "bounces", [*bounces(number, readers), PERSON])

    async def apply(found: Sequence[Report]) -> Sequence[ReportResult]:
        return await applied(room, found)

    async with incoming.reading(room.settings) as read:
        taken, _, voters = await asyncio.gather(take_maildir(folder, read, apply), room.deliver(), room.vote("ollama", 20, 5))
    assert taken == Taken(FLOOD + 1, FLOOD, FLOOD) and len(voters) == 25
    assert await suppressed(room) == FLOOD
    assert sum((await room.accounts(later)).values()) == FLOOD
    assert list((folder / "new").iterdir()) == []
    assert sorted(file.name.rpartition(",")[2] for file in (folder / "cur").iterdir()) == ["", *["S"] * FLOOD]


async def test_what_is_not_committed_stays_and_counts_once(room: Newsroom, tmp_path: Path) -> None:
    """The database goes away in the middle: nothing moves, and the second reading brings the same."""
    number, readers = await planned(room, 5)
    folder = maildir(tmp_path / "bounces", bounces(number, readers))

    async def fails(found: Sequence[Report]) -> Sequence[ReportResult]:
        await applied(room, found[:3])
        raise ConnectionResetError

    async def apply(found: Sequence[Report]) -> Sequence[ReportResult]:
        return await applied(room, found)

    async with incoming.reading(room.settings) as read:
        with pytest.raises(ConnectionResetError):
            await take_maildir(folder, read, fails)
        assert len(list((folder / "new").iterdir())) == 5
        assert await take_maildir(folder, read, apply) == Taken(5, 5, 5)
        assert await take_mbox(BytesIO(b"".join(b"From x\n" + mail + b"\n" for mail in bounces(number, readers))), read, apply)
    assert await suppressed(room) == 5
    assert await room.database.fetchval("select count(*) from newsletter.bounces") == 5


async def test_the_command_takes_files_maildirs_and_streams(room: Newsroom, tmp_path: Path) -> None:
    """Each says what it took; a folder that is no Maildir and a wrong choice are refused."""
    number, readers = await planned(room, 3)
    one, two, three = bounces(number, readers)
    (tmp_path / "one.eml").write_bytes(one)
    assert run(room, "mail", "ingest", str(tmp_path / "one.eml")).out.startswith(f"A hard report about {readers[0]}")
    folder = maildir(tmp_path / "bounces", [two, PERSON])
    said = run(room, "mail", "ingest", "--maildir", str(folder)).out
    assert said == "2 mails: 1 report, 1 suppressed their address\n"
    given = environ(room.settings.database_url, room.settings.redis_url, room.settings.home)
    stream = b"From MAILER-DAEMON\n" + three + b"\nFrom MAILER-DAEMON\n" + PERSON
    piped = Ran(run_inside(("mail", "ingest", "--mbox", "-", "--json"), stream, given))
    assert piped.json() == {"mails": 2, "reports": 1, "suppressed": 1}
    assert await suppressed(room) == 3
    run(room, "mail", "ingest", "--maildir", str(tmp_path)).failed("is no Maildir")
    run(room, "mail", "ingest").failed("Give FILE", status=2)
    run(room, "mail", "ingest", "--mbox", "-", "--follow").failed("can --follow", status=2)


async def test_a_mail_server_keeps_what_can_not_be_taken_now(room: Newsroom) -> None:
    """While the database is away the status is 75, upon which Postfix and others try again later."""
    (mail,) = bounces(1, ["AaMYXFAEcACAAAAAAAAABA"])
    given = environ("postgresql://nobody@127.0.0.1:1/none", room.settings.redis_url, room.settings.home)
    for words in (("-",), ("--mbox", "-")):
        Ran(run_inside(("mail", "ingest", *words), b"From x\n" + mail, given)).failed("cannot be reached", status=75)


@pytest.mark.parametrize(
    "stream, mails",
    [
        (b"", []),
        (
            b"From a\nSubject: 1\n\nHi\n\nFrom b\r\nSubject: 2\r\n\r\nHo\r\n",
            [b"Subject: 1\n\nHi\n\n", b"Subject: 2\r\n\r\nHo\r\n"],
        ),
        (b"From a\nSubject: 1\n\n>From me\nFrom you\n", [b"Subject: 1\n\nFrom me\nFrom you\n"]),
        (b"Subject: bare\n\nNo separator\n", [b"Subject: bare\n\nNo separator\n"]),
        (b"From a\nSubject: cut", [b"Subject: cut"]),
    ],
)
def test_an_mbox_is_cut_where_mails_begin(stream: bytes, mails: list[bytes]) -> None:
    """At lines that begin with "From " after an empty one, with either kind of line end."""
    assert list(mails_of(BytesIO(stream))) == mails


def test_an_endless_mail_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mail without an end the beginning is kept, and the next mail is read."""
    monkeypatch.setattr(incoming, "LONGEST_MAIL", 1000)
    endless = b"From a\nSubject: 1\n\n" + b"x" * 5000 + b"\n" * 3000 + b"\nFrom b\nSubject: 2\n\n"
    first, second = mails_of(BytesIO(endless))
    assert len(first) <= 2000 and second == b"Subject: 2\n\n"
