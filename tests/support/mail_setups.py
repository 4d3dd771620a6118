"""A site whose mail arrives: its zone, its key, its issue, and a real relay with TLS. A test then breaks one thing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from ssl import SSLContext
from typing import Any, Final

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from emails.dkim import Signer, public_key
from emails.message import From, prepare
from emails.rendering import render_shared
from services.clock import now
from services.mail_check.dns import Resolver
from services.mail_check.lines import Line
from services.mail_check.run import run
from services.mail_check.setup import DkimKey, Setup, Specimen
from tests.support.mails import CONTENT, READER, SITE
from tests.support.nameserver import Nameserver, Zone

DOMAIN: Final = "verdicts.example.com"
SENDER: Final = From("Weekly AI Tool Verdicts", f"digest@{DOMAIN}")
RELAY: Final = f"smtp.{DOMAIN}"
GREETS: Final = f"mail.{DOMAIN}"
ADDRESS: Final = "192.0.2.25"
REVERSE: Final = "25.2.0.192.in-addr.arpa"
SELECTOR: Final = "s1"
KEY_NAME: Final = f"{SELECTOR}._domainkey.{DOMAIN}"
FEEDBACK_ID: Final = "issue-12:digest:weekly:verdicts"


@cache
def pem(number: int) -> bytes:
    """Return a private key; another number is another one."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache
def record(number: int = 0) -> str:
    """Return the record that publishes a key; a key takes long to read, too."""
    return public_key(pem(number)).record


@cache
def _signer(domain: str, number: int) -> Signer:
    return Signer(domain, SELECTOR, pem(number))


def cut(text: str) -> str:
    """Return a text as a zone file writes it, in strings of 255 bytes at most."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


def zone() -> Zone:
    """Return the records of a site whose mail arrives."""
    return {
        (DOMAIN, "A"): ["192.0.2.80"],
        (DOMAIN, "MX"): [f"10 {GREETS}."],
        (DOMAIN, "TXT"): ['"site-verification=1"', cut(f"v=spf1 ip4:{ADDRESS} -all")],
        (GREETS, "A"): [ADDRESS],
        (REVERSE, "PTR"): [f"{GREETS}."],
        (RELAY, "A"): ["127.0.0.1"],
        (KEY_NAME, "TXT"): [cut(record())],
        (f"_dmarc.{DOMAIN}", "TXT"): [cut(f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{DOMAIN}")],
    }


def key(domain: str = DOMAIN) -> DkimKey:
    """Return the key that signs, for a domain."""
    return DkimKey(domain=domain, selector=SELECTOR, record=record(), bits=2048)


def issue(feedback_id: str | None = FEEDBACK_ID, list_id: str = f"digest.{DOMAIN}", **content: Any) -> bytes:
    """Return an issue that isn't signed."""
    return prepare(render_shared({**CONTENT, **content}), SENDER, list_id, feedback_id).fill(READER)


@cache
def good_specimen() -> Specimen:
    """Return an issue that nothing is wrong with."""
    return signed(issue())


def signed(message: bytes, number: int = 0, domain: str = DOMAIN) -> Specimen:
    """Return an issue signed by a key."""
    return Specimen(_signer(domain, number).sign(message))


def setup(port: int, scheme: str = "smtp+starttls", **more: Any) -> Setup:
    """Return the site whose relay listens on a port."""
    plain: dict[str, Any] = {
        "sender": SENDER.address,
        "hello": GREETS,
        "relay_url": f"{scheme}://{RELAY}:{port}",
        "base_url": SITE,
        "outgoing": (ADDRESS,),
        "key": key(),
        "specimen": good_specimen(),
    }
    return Setup(**{**plain, **more})


@asynccontextmanager
async def relaying(context: SSLContext | None, *, implicit: bool = False, name: str = GREETS) -> AsyncIterator[int]:
    """Run an SMTP server that offers STARTTLS, or speaks TLS from the start, or neither; yield its port."""

    def protocol() -> SMTP:
        return SMTP(Sink(), hostname=name, tls_context=None if implicit else context, loop=asyncio.get_running_loop())

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if implicit else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def checked(dns: Nameserver, given: Setup) -> dict[str, Line]:
    """Return the lines of a check, by subject."""
    lines = await run(given, Resolver([dns.server], seconds=2), now())
    return {line.subject: line for line in lines}


def faults(lines: dict[str, Line]) -> dict[str, Line]:
    """Return the lines that are not right."""
    return {subject: line for subject, line in lines.items() if line.state not in ("right", "note")}
