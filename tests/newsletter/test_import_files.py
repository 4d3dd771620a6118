"""Other people's files go in as they come: who consented is imported, who left isn't, and what isn't understood is named."""

from pathlib import Path
from typing import Any

import pytest

from events.log.committer import Committer
from events.log.vault import Vault
from services.newsletter.columns import Rules
from services.newsletter.dates import DateRefused, read_date
from services.newsletter.imports import ImportCounts, check, foresee, import_subscribers
from services.newsletter.records import FileUnreadable
from tests.support.settings import VAULT_KEY

IMPORTED = """
select data->>'subscriber' as id, data->>'address' as address, data->>'proof' as proof
from log.events where type = 'SubscriberImported' order by position
"""
PROOF = "sign-up form of the old site"


class Desk:
    """Takes files in, and tells what became of them."""

    def __init__(self, connection: Any, committer: Committer, folder: Path) -> None:
        self.connection = connection
        self.committer = committer
        self.path = folder / "readers.csv"
        self.refused: dict[int, str] = {}

    async def take(self, raw: bytes, *, dry_run: bool = False, **said: Any) -> ImportCounts:
        """Import a file."""
        self.path.write_bytes(raw)
        self.refused = {}
        vault, rules = Vault((VAULT_KEY,)), Rules(**{"offered": ("Chat",), "proof": PROOF, **said})
        finder = await vault.finder(self.connection)
        file = check(self.path, rules, finder, self.refused.__setitem__)
        if dry_run:
            return await foresee(self.connection, finder, file, lambda done, of: None)
        return await import_subscribers(self.committer, vault, finder, file, rules, "op", lambda done, of: None)

    async def kept(self) -> dict[str, str]:
        """Give the proof of each address in the log."""
        vault = Vault((VAULT_KEY,))
        rows = await self.connection.fetch(IMPORTED)
        keys = await vault.keys_of(self.connection, [row["id"] for row in rows])
        return {keys[r["id"]].open("address", r["address"]): keys[r["id"]].open("proof", r["proof"]) for r in rows}


@pytest.fixture
def desk(connection: Any, committer: Committer, tmp_path: Path) -> Desk:
    """A desk on the test's own log."""
    return Desk(connection, committer, tmp_path)


MAILCHIMP = """"Email Address","First Name",MEMBER_RATING,OPTIN_TIME,CONFIRM_TIME,NOTES,TAGS
ana@example.com,Ana,4,"2024-03-01 10:11:12","2024-03-01 10:12:00",,"vip"
bob@example.com,"=HYPERLINK(""http://evil.example"")",2,"2024-03-02 10:11:12","2024-03-02 10:12:00","a note
of two lines",
never@example.com,Non,1,,,,
"""
CLEANED = """Email Address,OPTIN_TIME,CONFIRM_TIME,CLEAN_TIME,CLEAN_CAMPAIGN_TITLE
gone@example.com,2024-03-01 10:11:12,2024-03-01 10:12:00,2025-01-01 00:00:00,Hello
"""
SUBSTACK = """email,active_subscription,expiry,plan,email_disabled,created_at
ana@example.com,false,,other,false,2024-03-01T10:11:12.000Z
gone@example.com,true,,yearly,true,2024-03-01T10:11:12.000Z
"""
GHOST = """id,email,name,note,subscribed_to_emails,complimentary_plan,stripe_customer_id,created_at,deleted_at,labels,tiers
1,ana@example.com,Ana,,true,false,,2024-03-01T10:11:12.000Z,,,
2,gone@example.com,Gone,,false,false,,2024-03-01T10:11:12.000Z,,,
3,deleted@example.com,Gone,,true,false,,2024-03-01T10:11:12.000Z,2025-01-01T00:00:00.000Z,,
"""
LISTMONK = """uuid,email,name,attributes,status,created_at,updated_at
a-b-c,ana@example.com,Ana,"{""city"": ""Rome, Italy""}",enabled,2024-03-01 10:11:12.123456+00:00,2024-03-01 10:11:12
a-b-d,blocked@example.com,B,{},blocklisted,2024-03-01 10:11:12+00:00,2024-03-01 10:11:12
a-b-e,off@example.com,O,{},disabled,2024-03-01 10:11:12+00:00,2024-03-01 10:11:12
"""
BUTTONDOWN = """Email,Notes,Metadata,Tags,Source,Type,Creation Date,Confirmation date,Unsubscription date
ana@example.com,,{},,embed,regular,2024-03-01T10:11:12+00:00,2024-03-01T10:12:00+00:00,
gone@example.com,,{},,embed,unsubscribed,2024-03-01T10:11:12+00:00,2024-03-01T10:12:00+00:00,2025-01-01
new@example.com,,{},,embed,unactivated,2024-03-01T10:11:12+00:00,,
"""


@pytest.mark.parametrize(
    ("export", "imported", "left", "unconfirmed", "not_read", "proof"),
    [
        (MAILCHIMP, 2, 0, 1, "First Name, MEMBER_RATING, NOTES, TAGS",
         "confirm time 2024-03-01 10:12:00; optin time 2024-03-01 10:11:12"),
        (CLEANED, 0, 1, 0, "CLEAN_CAMPAIGN_TITLE", ""),
        (SUBSTACK, 1, 1, 0, "active_subscription, expiry, plan", "created at 2024-03-01 10:11:12+00:00"),
        (GHOST, 1, 2, 0, "id, name, note, complimentary_plan, stripe_customer_id, labels, tiers",
         "created at 2024-03-01 10:11:12+00:00"),
        (LISTMONK, 1, 2, 0, "uuid, name, attributes, updated_at", "created at 2024-03-01 10:11:12.123456+00:00"),
        (BUTTONDOWN, 1, 1, 1, "Notes, Metadata, Tags, Source",
         "confirmation date 2024-03-01 10:12:00+00:00; creation date 2024-03-01 10:11:12+00:00"),
    ],
    ids=["mailchimp", "cleaned", "substack", "ghost", "listmonk", "buttondown"],
)  # fmt: skip
async def test_each_systems_export_goes_in_as_it_comes(
    desk: Desk, export: str, imported: int, left: int, unconfirmed: int, not_read: str, proof: str
) -> None:
    """Subscribed readers are imported with the file's dates, others counted; a trial says the same, and twice is once."""
    foreseen = await desk.take(export.encode(), dry_run=True)
    assert await desk.kept() == {}
    done = await desk.take(export.encode())
    assert (done, desk.refused) == (foreseen, {})
    assert (done.imported, done.left, done.unconfirmed, done.not_read) == (imported, left, unconfirmed, not_read.split(", "))
    kept = await desk.kept()
    assert len(kept) == imported and (not proof or kept["ana@example.com"] == f"{PROOF}; {proof}")
    again = await desk.take(export.encode())
    assert (again.imported, again.known, len(await desk.kept())) == (0, imported, imported)


@pytest.mark.parametrize(
    "raw",
    [
        "\ufeffEmail,Näme\r\nana@example.com,Änne\r\n".encode(),
        "Email;Näme\nana@example.com;Änne".encode("windows-1252"),
        "Email\tNäme\nana@example.com\tÄnne\n".encode("utf-16"),
        "\ufeffE-Mail Address\tNäme\nana@example.com\tÄnne\n".encode("utf-16-be"),
        b"sep=;\r\nEMAIL;Name\r\nana@example.com;A,B\r\n",
        b" e_mail ,Name\rana@example.com,Anne\r\r",
        b'"email","Name, first"\n"ana@example.com","Anne ""A"" Smith"\n',
        b"email|name\nana@example.com|Anne\n",
    ],
)
async def test_encodings_separators_and_line_ends_are_found(desk: Desk, raw: bytes) -> None:
    """What a spreadsheet saves is read, in whichever of its forms."""
    assert ((await desk.take(raw)).imported, list(await desk.kept()), desk.refused) == (1, ["ana@example.com"], {})


async def test_a_line_break_in_a_cell_makes_nobody_a_subscriber(desk: Desk) -> None:
    """A record is read whole, and the next one is named by the line it begins on."""
    raw = (
        b'email,proof,name\nana@example.com,f,"Ana\nstranger@example.com,f,Bob"\ncyd@example.com\n,,\nx,f,\ndan@example.com,f,'
    )
    done = await desk.take(raw)
    assert list(await desk.kept()) == ["ana@example.com", "dan@example.com"]
    assert (done.refused, list(desk.refused)) == (2, [4, 6])


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"Email,name,email,proof\nana@example.com,Ana,other@example.com,f\n", "'Email'"),
        (b"Email,E-mail address\nana@example.com,other@example.com\n", "'Email' and 'E-mail address'"),
        (b"name;first\nana;Ana\n", "read as utf-8, separated by semicolons"),
        (b'email,name\nana@example.com,Ana\nbob@example.com,"Bob\ncyd@example.com,Cyd\n', "line 3"),
        (b"", "columns"),
        (b"\xff\xfeE\x00m", "encoding"),
        (b"email\nana@example.com\n", "--proof"),
    ],
)
async def test_a_file_that_could_mean_two_things_is_refused_whole(desk: Desk, raw: bytes, said: str) -> None:
    """A column named twice, no address, a quote left open, no consent: one sentence, and nobody is imported."""
    with pytest.raises(FileUnreadable, match=said):
        await desk.take(raw, proof="" if said == "--proof" else PROOF)
    assert await desk.kept() == {}


async def test_who_left_once_is_left_out_wherever_the_file_names_them(desk: Desk) -> None:
    """Of two rows, the one that says somebody left counts, whichever comes first."""
    raw = (
        b"email,status\nAna@example.com,active\nbob@example.com,unsubscribed\nana@example.com,Bounced\nBOB@example.com,active\n"
    )
    done = await desk.take(raw)
    assert (done.imported, done.left, await desk.kept()) == (0, 4, {})


async def test_who_left_elsewhere_is_left_out_of_later_files_too(desk: Desk) -> None:
    """Only a consent of a later day than the leaving brings somebody back; a trial says the same, and keeps nothing."""
    left = b"email,unsubscribed_at\nAna@example.com,2025-01-01\nbob@example.com,2025-01-01 10:00\ncyd@example.com,\n"
    later = (
        b"email,subscribed_at\nana@example.com,2024-03-01\nbob@example.com,2025-01-02\ncyd@example.com,2024-03-01\n"
        b"dan@example.com,2025-01-01\n"
    )
    assert (await desk.take(left, dry_run=True)).left == 2
    assert (await desk.take(left)).imported == 1  # cyd never left
    foreseen = await desk.take(later, dry_run=True)
    done = await desk.take(later)
    assert (done, done.imported, done.known, done.left) == (foreseen, 2, 1, 1)
    assert sorted(await desk.kept()) == ["bob@example.com", "cyd@example.com", "dan@example.com"]
    assert (await desk.take(b"email\nana@example.com\n")).left == 1
    rows = await desk.connection.fetch("select mark, left_on from vault.left_elsewhere")
    finder = await Vault((VAULT_KEY,)).finder(desk.connection)
    assert [(row["mark"], str(row["left_on"])) for row in rows] == [(finder.mark("ana@example.com"), "2025-01-01")]


async def test_who_left_on_no_known_day_left_today(desk: Desk) -> None:
    """Where a file doesn't say when somebody left, no consent that is known by then counts any more."""
    await desk.take(b"email,status\nana@example.com,unsubscribed\n")
    assert (await desk.take(b"email,subscribed_at\nana@example.com,2026-01-01\n")).left == 1
    assert await desk.kept() == {}


async def test_what_is_not_understood_is_named_by_line_and_column(desk: Desk) -> None:
    """Statuses, dates, answers and categories that could mean anything are refused, the rest of the file is imported."""
    raw = b"""email,status,opted in,created_at,categories,x
a@example.com,limbo,yes,2024-03-01,,
b@example.com,active,perhaps,2024-03-01,,
c@example.com,active,yes,03/04/2024,,
d@example.com,active,yes,yesterday,,
e@example.com,active,yes,2024-03-01,Chat;Nope,
f@example.com,active,yes,13/04/2024,Chat,
"""
    done = await desk.take(raw, ignore=["X"])
    parts = {
        2: "'status' says 'limbo'",
        3: "'opted in' says 'perhaps'",
        4: "--dates",
        5: "isn't a date",
        6: "'Nope'",
    }
    assert desk.refused.keys() == parts.keys() and all(part in desk.refused[line] for line, part in parts.items())
    assert (done.imported, done.not_read, await desk.kept()) == (1, [], {"f@example.com": f"{PROOF}; created at 2024-04-13"})
    assert (await desk.take(raw, dates="month-first", ignore=["X"])).imported == 1
    assert (await desk.kept())["c@example.com"].endswith("2024-03-04")
    with pytest.raises(FileUnreadable, match="'nope'"):
        await desk.take(raw, ignore=["nope"])


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2024-03-01", "2024-03-01"),
        ("2024/3/1 10:11", "2024-03-01 10:11:00"),
        ("2024-03-01 10:11:12 UTC", "2024-03-01 10:11:12+00:00"),
        ("01.03.2024", "2024-03-01"),
        ("3/25/2024 1:05 PM", "2024-03-25 13:05:00"),
        ("25/03/2024, 10:11:12", "2024-03-25 10:11:12"),
        ("03/03/2024", "2024-03-03"),
        ("Mar 1, 2024 10:11 AM", "2024-03-01 10:11:00"),
        ("1 March 2024", "2024-03-01"),
        ("Fri, 01 Mar 2024 10:11:12 +0000", "2024-03-01 10:11:12+00:00"),
    ],
)
def test_dates_of_any_usual_form_are_read(text: str, iso: str) -> None:
    """Whoever wrote them, wherever."""
    assert read_date(text, None) == iso


@pytest.mark.parametrize("text", ["", "03/04/2024", "4-3-2024", "31/02/2024", "soon", "45352", "2024-13-01"])
def test_a_date_that_is_none_or_two_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(DateRefused):
        read_date(text, None)
