"""A real mail server takes a real digest and puts it into a mailbox as it was sent."""

import base64
import email
import email.policy
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import cast

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from emails.dkim import Signer
from emails.smtp import Relay
from services.clock import now
from services.newsletter import holds
from services.newsletter.providers import Providers
from services.newsletter.sender import Sender
from services.newsletter.transport import RelayTransport
from tests.support import catalogs, signing
from tests.support.mails import notes_of
from tests.support.newsroom import Newsroom, unwatched
from tests.support.postfix import Postfix, postfix


@cache
def key() -> rsa.RSAPrivateKey:
    """Return the key that signs; it is made when a test needs it."""
    return rsa.generate_private_key(65537, 2048)


def private() -> bytes:
    """Return it as an operator keeps it."""
    return key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public() -> bytes:
    """Return its public half as DNS tells it."""
    return base64.b64encode(key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture
def server() -> Iterator[Postfix]:
    """A running Postfix."""
    with postfix() as running:
        yield running


async def test_postfix_delivers_a_digest_as_it_was_sent(room: Newsroom, server: Postfix, tmp_path: Path) -> None:
    """It accepts the digest and delivers it once: headers and both parts whole, and its signature still verifies.

    The checkpoint in the header is the one in the text part, and the signature covers it.
    """
    await room.import_tools(catalogs.tool(name="Très Tool"))
    ada = await room.subscribe("ada@example.com")
    await room.project()
    await room.deliver()  # the confirmation, which nobody needs any more
    await room.sign(tmp_path)
    number = await room.send_now()
    async with Relay(f"smtp://127.0.0.1:{server.port}", 2) as relay:
        transport = RelayTransport(relay, Signer("verdicts.example", "r1", private()))
        await Sender(
            room.database,
            room.letters,
            transport,
            clock=now,
            bounced=room.bounced,
            look=unwatched,
            lease_seconds=30,
            providers=Providers(),
            chunk=10,
        ).turn()
    assert await room.accounts(number) == {"accepted": 1}
    (raw,) = server.delivered(1)
    must_be_whole(room, raw, ada, number)
    (checkpoint,) = await signing.signed(room.database)  # type: ignore[arg-type]
    assert notes_of(raw) == (checkpoint.note, checkpoint.note)
    assert verified(raw)
    assert not verified(raw.replace(b"Ballotpress-Checkpoint: c", b"Ballotpress-Checkpoint: d"))


def verified(raw: bytes) -> bool:
    """Return whether the signature of a delivered mail verifies."""
    return bool(dkim.verify(raw.replace(b"\n", b"\r\n"), dnsfunc=lambda name, timeout=5: b"v=DKIM1; k=rsa; p=" + public()))


async def test_a_postfix_that_refuses_our_greeting_costs_no_reader(room: Newsroom) -> None:
    """With reject_non_fqdn_helo_hostname it refuses every RCPT: the issue is held. Greeted by a whole name it takes all."""
    for n in range(holds.ROW):
        await room.subscribe(f"reader{n}@example.com")
    await room.project()
    await room.deliver()
    number = await room.send_now()
    with postfix("smtpd_helo_required = yes", "smtpd_helo_restrictions = reject_non_fqdn_helo_hostname") as strict:
        await send_all(room, strict, "app-1")
        assert await room.accounts(number) == {"deferred": holds.ROW}
        assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 0
        await holds.resume(room.database, "ed")
        await send_all(room, strict, "verdicts.example")
        assert await room.accounts(number) == {"accepted": holds.ROW}


ACCESS = (
    "{gmail.com = 550 5.7.26 This mail is unauthenticated, which poses a security risk}",
    "{yahoo.com = 421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume}",
    "{full@example.com = 452 4.2.2 The mailbox is full}",
    "{gone@example.com = 550 5.1.1 User unknown}",
)


async def test_a_postfix_that_answers_for_each_provider(room: Newsroom) -> None:
    """It passes on what each says: one is held, one slowed, a reader suppressed, another put off; all others get theirs."""
    addresses = [f"reader{n}@{domain}" for n in range(holds.ROW) for domain in ("gmail.com", "example.com")]
    for address in (*addresses, "ada@yahoo.com", "full@example.com", "gone@example.com"):
        await room.subscribe(address)
    await room.project()
    await room.deliver()
    number = await room.send_now()
    domains = "virtual_mailbox_domains = example.com, gmail.com, yahoo.com"
    access = f"smtpd_recipient_restrictions = check_recipient_access inline:{{ {', '.join(ACCESS)} }}"
    with postfix(domains, access) as passing_on:
        for _ in range(2):  # a 421 slows the one provider, and costs the others of its connection nothing but a moment
            await send_all(room, passing_on, "verdicts.example")
    waiting = {hold.provider: hold.mails for hold in await holds.read_holds(room.database)}
    assert waiting == {"google": holds.ROW}
    assert await room.accounts(number) == {"accepted": holds.ROW, "deferred": holds.ROW + 2, "rejected": 1}
    assert [row["name"] for row in await room.database.fetch("select name from newsletter.slowdowns")] == ["yahoo"]
    assert await room.database.fetchval("select count(*) from vault.lookups where suppressed is not null") == 1


async def send_all(room: Newsroom, server: Postfix, hello: str) -> None:
    """Send what is due to a server that is greeted by this name."""
    async with Relay(f"smtp://127.0.0.1:{server.port}", 2, hello=hello) as relay:
        sender = Sender(
            room.database,
            room.letters,
            RelayTransport(relay, None),
            clock=now,
            bounced=room.bounced,
            look=unwatched,
            lease_seconds=30,
            providers=Providers(),
        )
        await sender.turn()


def must_be_whole(room: Newsroom, raw: bytes, reader: str, number: int) -> None:
    """Parse a delivered digest and look at all that a mail program needs of it."""
    mail = cast(EmailMessage, email.message_from_bytes(raw, policy=email.policy.default))
    assert not mail.defects
    assert mail["X-Original-To"] == "ada@example.com" and mail["Return-Path"] == "<digest@verdicts.example>"
    for name in ("From", "To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"):
        assert len(mail.get_all(name, [])) == 1, name
    assert (mail["From"], mail["To"]) == ("Verdicts <digest@verdicts.example>", "ada@example.com")
    assert "Très Tool" in mail["Subject"]
    assert timedelta(0) <= now() - mail["Date"].datetime < timedelta(minutes=10)
    assert mail["Message-ID"] == f"<issue-{number}.{reader}@verdicts.example>"
    assert mail["List-Id"] == "Weekly AI Tool Verdicts <digest.verdicts.example>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link, _, token = mail["List-Unsubscribe"].strip("<>").partition("?token=")
    assert link == "https://verdicts.example/newsletter/unsubscribe"
    assert room.tokens.read_unsubscribe(token) == reader
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    for part in cast("list[EmailMessage]", list(mail.iter_parts())):
        assert "Très Tool" in part.get_content() and token in part.get_content()
