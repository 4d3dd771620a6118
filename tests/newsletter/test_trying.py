"""What an operator sees before and while an issue is sent: a test mail, how long it takes, what it waits for, and consent."""

import asyncio
import email
import email.policy
import json
import re
from html import unescape

import httpx
import pytest
from msgspec.structs import replace

from events.commands.subscribers import RequestSubscription, SuppressSubscriber, UndoUnsubscribe, Unsubscribe
from services.clock import fresh_id
from services.newsletter import consents, ledger, pace
from services.newsletter.consents import WORDS
from services.newsletter.pace import Plan
from services.newsletter.subscribers import new_person
from services.setting_groups import Pace
from services.status.read import read_status
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.pacing import always, planned, shut
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside
from tests.support.sink import says_250
from tests.support.sites import client


async def run(room: Newsroom, *words: str, **more: str) -> Ran:
    """Run a command on the newsroom's site, with its relay, beside this test's loop."""
    given = room.settings
    assert given.smtp_url is not None
    whole = environ(
        given.database_url,
        given.redis_url,
        given.home,
        SMTP_URL=given.smtp_url,
        BALLOTPRESS_BASE_URL=given.base_url,
        BALLOTPRESS_MAIL_FROM=given.newsletter.sender,
        **more,
    )
    return Ran(await asyncio.to_thread(run_inside, words, b"", whole))


def links(message: bytes) -> list[str]:
    """Return the links of a mail's text that hold a token."""
    part = email.message_from_bytes(message, policy=email.policy.default).get_body(("plain",))
    assert part is not None
    return [word for word in part.get_content().split() if "token=" in word]


async def test_a_test_mail_goes_through_the_relay_and_leaves_no_trace(room: Newsroom) -> None:
    """It is marked, its links are nobody's and do nothing, and neither ledger nor log knows of it."""
    number, _ = await planned(room, 2)
    await room.deliver()
    before = await room.database.fetchval("select (select position from log.head)::text || count(*) from newsletter.mails")
    for more in ((), ("--issue", str(number))):
        done = await run(room, "digest", "send", "--to", "me@example.com", *more)
        assert (done.status, done.err) == (0, ""), done.err
        assert "the relay took it" in done.out
    after = await room.database.fetchval("select (select position from log.head)::text || count(*) from newsletter.mails")
    assert after == before
    first, second = room.sink.to("me@example.com")
    mail = email.message_from_bytes(second, policy=email.policy.default)
    assert mail["Subject"].startswith("[Test] ")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Message-ID"] != email.message_from_bytes(first, policy=email.policy.default)["Message-ID"]
    found = {*links(first), *links(second), mail["List-Unsubscribe"].strip("<>")}
    assert len(found) == 2
    async with client(room.settings) as http:
        for link in found:
            page = await http.get(link)
            assert (page.status_code, "of a test mail" in page.text) == (200, True)
        clicked = await http.post(mail["List-Unsubscribe"].strip("<>"), data={"List-Unsubscribe": "One-Click"})
        assert (clicked.status_code, "of a test mail" in clicked.text) == (200, True)
    assert await room.database.fetchval("select position from log.head")  # and it is where it was
    assert before == await room.database.fetchval(
        "select (select position from log.head)::text || count(*) from newsletter.mails"
    )


async def test_a_test_mail_that_cannot_go_says_why(room: Newsroom) -> None:
    """A refusal, a suppressed address, an unknown issue, no address, and options that don't go together."""
    await room.import_tools(catalogs.tool("a"))
    reader = await room.subscribe("ada@example.com")
    await room.project()
    await room.committer.submit(SuppressSubscriber(reader, "complaint"))
    room.sink.rcpt = lambda _: "554 5.7.1 not here"
    for words, said in (
        (("--to", "me@example.com"), "The relay refused the test (554"),
        (("--to", "ada@example.com"), "suppressed for: complaint"),
        (("--to", "me@example.com", "--issue", "7"), "There is no issue 7"),
        (("--to", "nobody"), "The address can't be used"),
        (("--to", "me@example.com", "--now"), "Give either"),
        ((), "Give either"),
    ):
        done = await run(room, "digest", "send", *words)
        assert done.status != 0
        assert said in done.err
    room.sink.rcpt = says_250
    assert room.sink.mails == []


async def test_an_operator_is_told_how_long_an_issue_takes_before_it_is_sent(room: Newsroom) -> None:
    """One that takes days says so; one that doesn't reach all readers in its week is sent after a yes alone."""
    await planned(room, 20)
    await room.database.execute("delete from newsletter.mails where issue > 0")
    await room.database.execute("delete from newsletter.issues")
    at = await room.database.fetchval("select now()")
    slow, lame = always(at, most=5), always(at, most=2)
    await pace.follow(room.database, slow)
    preview = await run(room, "digest", "preview", "--to", str(room.settings.home))
    assert "This issue will take 4 days" in preview.out
    await pace.follow(room.database, lame)
    asked = await run(room, "digest", "send", "--now", "--unchecked")
    assert asked.status == 2
    assert "won't reach 6 of 20 readers before the next one comes" in asked.err
    assert await room.database.fetchval("select count(*) from newsletter.issues") == 0
    await pace.follow(room.database, slow)
    sent = await run(room, "digest", "send", "--now", "--unchecked")
    assert (sent.status, "will take 4 days" in sent.err) == (0, True)
    await pace.follow(room.database, lame)
    again = await run(room, "digest", "send", "--now")
    assert (again.status, "Issue 1 was sent at" in again.out) == (0, True)
    async with room.database.acquire() as connection:
        problems = [problem.what for problem in (await read_status(connection, room.schedule)).problems]
    assert any("6 of 20 readers would miss it" in what for what in problems)


async def test_what_mails_wait_for_is_told(room: Newsroom) -> None:
    """The next day, the sending hours, the reader's own hour: and none of them counts as late."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=1))
    number, readers = await planned(room, 4)
    await room.deliver()
    await room.database.execute(
        "update newsletter.mails set not_before = now() + interval '5 hours' where reader = $1", readers[3]
    )
    await room.database.execute(
        "update newsletter.mails set not_before = not_before - interval '3 hours' where reader <> $1", readers[3]
    )
    told = await run(room, "digest", "status", str(number))
    assert "2 mails wait for the next day: 1 of today's 1 digests were sent; 2 days more to go" in told.out
    assert "1 mail waits for their readers' own hour, the last of them at" in told.out
    await pace.follow(room.database, shut(at))
    told = await run(room, "digest", "status", str(number), "--json")
    reasons = [one["reason"] for one in json.loads(told.out)[0]["waiting"]]
    assert any(reason.startswith("the sending hours, which begin at ") for reason in reasons)
    async with room.database.acquire() as connection:
        ledger = (await read_status(connection, room.schedule)).ledger
    assert ledger is not None
    assert ledger.overdue_seconds == 0
    await pace.follow(room.database, Plan())
    async with room.database.acquire() as connection:
        ledger = (await read_status(connection, room.schedule)).ledger
    assert ledger is not None
    assert ledger.overdue_seconds > 3 * 3600 - 60


async def test_a_held_newsletter_and_an_issue_that_is_over_are_told_as_such(room: Newsroom) -> None:
    """While it is held its mails wait for the operator's word; an issue that was sent has nothing left to stop."""
    number, _ = await planned(room, 2)
    await ledger.hold(room.database, "the log went back")
    for words in (("digest", "status"), ("digest", "send", "--now", "--extra", "--unchecked")):
        told = await run(room, *words)
        assert "2 mails wait for `digest resume`: the newsletter is held: the log went back" in told.out, told.err
    await room.database.execute("update newsletter.schedule set paused_at = null, held = null")
    await room.deliver()
    over = await run(room, "digest", "cancel", str(number), "--yes")
    assert "is cancelled" not in over.out
    assert "Nothing is left to stop" in over.out


async def test_the_proof_of_a_consent_is_printed(room: Newsroom) -> None:
    """When, by which form and words, how it was confirmed, what came after it; an unknown address has none."""
    reader = await room.subscribe("ada@example.com", "Chat")
    left = await room.committer.submit(Unsubscribe(reader))
    assert left.position is not None
    await room.committer.submit(UndoUnsubscribe(reader, left.position, consents.UNDO_FORM, "ab" * 32))
    told = await run(room, "subscribers", "consent", "Ada@example.com")
    assert told.status == 0
    said = told.out.split("\n")
    assert said[0] == "ada@example.com: confirmed"
    for part in ("asked for the newsletter", "confirmed by the button", "withdrew", "took the withdrawal back"):
        assert part in told.out
    assert f"  SHA-256 of the token: {'ab' * 32}" in said
    assert f"The words of undo 1: {WORDS['undo 1']}" in said
    found = json.loads((await run(room, "subscribers", "consent", "ada@example.com", "--json")).out)
    assert [step["form"] for step in found["steps"] if "form" in step] == ["form", "form", "undo 1"]
    person = new_person(room.vault, await room.vault.finder(room.database), "bob@example.com")
    await room.committer.submit(RequestSubscription(person, (), consents.ZONED_FORM, None, mail=fresh_id(), cap=3, hourly=1000))
    told = await run(room, "subscribers", "consent", "bob@example.com")
    assert "reach you at 9:00 where you are. Press the button to get Weekly AI Tool Verdicts by mail." in told.out
    unknown = await run(room, "subscribers", "consent", "nobody@example.com")
    assert (unknown.status, "nobody signed it up" in unknown.out) == (1, True)


@pytest.mark.parametrize("own_hour", [False, True])
async def test_the_words_that_are_kept_are_those_that_the_pages_show(room: Newsroom, own_hour: bool) -> None:
    """Whoever changes the words of a form gives them a new name: a consent is to the words that were shown."""
    given = replace(room.settings, pace=Pace(own_hour=own_hour))
    reader = await room.sign_up("ada@example.com")
    assert reader is not None
    token = room.tokens.confirm(reader, 1)
    async with client(given) as http:
        pages = [await http.get("/newsletter"), await http.get("/newsletter/confirm", params={"token": token})]
        shown = " ".join(" ".join(map(_words, pages)).split())
    words = WORDS[consents.form_of(given.pace)]
    named = words.format(newsletter=given.identity.newsletter_name, hour=given.newsletter.hour)
    for sentence in named.rstrip(".").split(". "):
        assert sentence in shown
    assert ("time zone" in shown) == own_hour


def _words(page: httpx.Response) -> str:
    """Return a page's text without its tags."""
    return unescape(re.sub(r"<[^>]*>", " ", page.text))
