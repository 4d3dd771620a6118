"""Changes between an issue's compilation and its sending: reviews erased, views rebuilt, two workers at once."""

import asyncio
import email
import email.policy
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from emails.smtp import Relay
from events.commands.reviews import DecideReview, SubmitReview, WithdrawReview
from services.clock import fresh_id, now
from services.newsletter import issues, periods
from services.newsletter.providers import Providers
from services.newsletter.sender import Sender
from services.newsletter.subscribers import forget_unconfirmed
from services.newsletter.transport import RelayTransport
from tests.support import catalogs
from tests.support.newsroom import Newsroom, unwatched

WORDS = "It wrote half of my tests and all of my excuses."


async def approved_review(room: Newsroom, visitor: str) -> str:
    """Let a visitor review the tool alpha, approved."""
    review = fresh_id()
    key, keep = room.vault.new_key(review)
    submit = SubmitReview(
        visitor=visitor, slug="alpha", review=review, verdict="ship", score=90,
        text=key.seal("text", WORDS), name=key.seal("name", "Grace"), keep=keep,
    )  # fmt: skip
    await room.committer.submit(submit)
    await room.committer.submit(DecideReview(review, "approve", operator="op"))
    return review


def text_of(raw: bytes) -> str:
    part = email.message_from_bytes(raw, policy=email.policy.default).get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def digest_to(room: Newsroom, address: str) -> str:
    """Return the text of the one digest to an address."""
    (raw,) = [message for message in room.sink.to(address) if b"List-Id" in message]
    return text_of(raw)


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_review_is_opened_when_its_mail_is_written(room: Newsroom, withdrawn: bool) -> None:
    """The best new review is quoted; taken back before the mail goes out, it is a fixed line, and the proof still holds."""
    await room.import_tools(catalogs.tool("alpha"))
    visitor = fresh_id()
    review = await approved_review(room, visitor)
    await room.subscribe("ada@example.com")
    await room.project()
    number = await room.send_now()
    assert WORDS not in str(await room.database.fetchval("select content::text from newsletter.issues"))
    if withdrawn:
        await room.committer.submit(WithdrawReview(visitor, review))
        await room.project()
    await room.deliver()
    text = await digest_to(room, "ada@example.com")
    assert (WORDS in text, "Grace" in text, "took this review back" in text) == (not withdrawn, not withdrawn, withdrawn)
    assert await issues.verify(room.settings.database_url, number)


async def test_views_rebuilt_in_mid_send_change_no_mail(room: Newsroom) -> None:
    """With every view of subscribers empty, the planned mails are sent, not one more or less."""
    for n in range(5):
        await room.subscribe(f"reader{n}@example.com")
    await room.project()
    number = await room.send_now()
    await room.database.execute("truncate subscribers_2.subscribers, subscribers_2.visitors, bookmarks_1.bookmarks")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 5}


async def test_two_senders_share_the_work(room: Newsroom) -> None:
    """Side by side they send each mail once."""
    for n in range(40):
        await room.subscribe(f"reader{n}@example.com")
    await room.project()
    number = await room.send_now()
    async with Relay(room.settings.smtp_url or "", 3) as relay:
        other = Sender(
            room.database,
            room.letters,
            RelayTransport(relay, None),
            clock=now,
            bounced=room.bounced,
            look=unwatched,
            lease_seconds=30,
            providers=Providers(),
            chunk=3,
        )
        await asyncio.gather(room.sender.turn(), other.turn())
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 40}
    assert set(Counter(to for to, message in room.sink.mails if b"List-Id" in message).values()) == {1}


async def test_a_reader_of_some_categories_gets_those_alone(room: Newsroom) -> None:
    """Two readers of one issue, each with what they chose; a quiet one for all who chose nothing in particular."""
    await room.import_tools(catalogs.tool("alpha", category="Chat"), catalogs.tool("beta", category="Code"))
    await room.subscribe("chat@example.com", "Chat")
    await room.subscribe("all@example.com")
    await room.project()
    await room.send_now()
    await room.deliver()
    chat, everything = await digest_to(room, "chat@example.com"), await digest_to(room, "all@example.com")
    assert ("Alpha" in chat, "Beta" in chat) == (True, False)
    assert ("Alpha" in everything, "Beta" in everything) == (True, True)
    quiet = await room.send_now(extra=True)
    assert await room.accounts(quiet) == {"pending": 1, "excluded": 1}


async def test_monthly_readers_get_the_months_first_issue(room: Newsroom) -> None:
    """On the month's first scheduled time both editions go out, each to its own readers."""
    weekly, monthly = await room.subscribe("w@example.com"), await room.subscribe("m@example.com")
    await room.prefer(monthly, frequency="monthly")
    await room.project()
    await room.deliver()
    await room.database.execute("update newsletter.schedule set since = '2099-12-01'")
    await room.send_now(datetime(2099, 12, 5, tzinfo=UTC))
    await room.deliver()
    rows = await room.database.fetch(
        "select i.edition, m.reader from newsletter.mails m join newsletter.issues i on i.number = m.issue"
        " where m.state = 'accepted'"
    )
    assert {(row["edition"], row["reader"]) for row in rows} == {("weekly", weekly), ("monthly", monthly)}


async def test_a_very_late_issue_raises_an_alarm_until_it_is_served(room: Newsroom) -> None:
    """The sentence names the edition and what to do; sending it ends the alarm."""
    at = datetime(2099, 11, 23, 9, tzinfo=UTC) + timedelta(hours=25)
    assert "digest send --now" in (await periods.late(room.database, room.schedule, at) or "")
    await room.send_now(at)
    assert await periods.late(room.database, room.schedule, at) is None


async def test_an_address_never_confirmed_is_forgotten_after_seven_days(room: Newsroom) -> None:
    """Its key and look-up go. A day earlier they stay, and confirmed subscribers always stay."""
    waiting, confirmed = await room.sign_up("waiting@example.com"), await room.subscribe("ada@example.com")
    await room.project()
    assert await forget_unconfirmed(room.database, room.committer, now() + timedelta(days=6)) == []
    assert await forget_unconfirmed(room.database, room.committer, now() + timedelta(days=7, minutes=1)) == [waiting]
    kept = await room.database.fetch("select person from vault.lookups")
    assert [row["person"] for row in kept] == [confirmed]
    assert await room.database.fetchval("select count(*) from vault.keys where owner = $1", waiting) == 0
    await room.deliver()
    assert room.sink.mails == []
