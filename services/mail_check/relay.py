"""The relay as it shows itself: its name, and its TLS. No mail is sent and nobody logs in; each step is bounded in time."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final, NamedTuple

from emails.relay_url import RelayUrl
from services.mail_check.dns import LooksUp
from services.mail_check.lines import Line, right, unknown, wrong

SECONDS: Final = 10.0
"""Of the whole conversation."""
SOON: Final = timedelta(days=14)
"""A certificate that ends sooner is wrong: whoever renews it should have by now."""
MOST_LINES: Final = 100

_LOST: Final = (OSError, EOFError, asyncio.IncompleteReadError, ValueError)
_TRY_AGAIN: Final = "see whether SMTP_URL names the relay and its port, and whether a firewall lets this machine out to it"


class Greeted(NamedTuple):
    """What the relay said: its name, its address and whether that is on this machine, and its TLS, or what went wrong.

    `unfit` says why its certificate can't be trusted, `trouble` why nothing is known.
    """

    is_here: bool
    address: str | None = None
    name: str | None = None
    offers_tls: bool = False
    version: str | None = None
    ends_at: datetime | None = None
    unfit: str | None = None
    trouble: str | None = None


class _Refused(Exception):
    """The relay said something else than was expected."""


async def greet(url: RelayUrl, dns: LooksUp, hello: str) -> Greeted:
    """Connect to the relay, begin TLS if it is there, and hang up."""
    address = await _address(url.host, dns)
    known = Greeted(address is not None and ip_address(address).is_loopback, address)
    try:
        async with asyncio.timeout(SECONDS):
            return await _converse(url, address or url.host, hello, known)
    except TimeoutError:
        return known._replace(trouble=f"{url.host} didn't answer within {SECONDS:g} s")
    except _Refused as error:
        return known._replace(trouble=f"{url.host} {error}")
    except _LOST as error:
        return known._replace(trouble=f"{url.host} can't be reached ({type(error).__name__})")


async def _address(host: str, dns: LooksUp) -> str | None:
    """Return an address of the relay by our DNS servers, None if they know none: then the system may."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    found = await dns.look_up(host, "A")
    if not found.records:
        found = await dns.look_up(host, "AAAA")
    return found.records[0] if found.records else None


async def _converse(url: RelayUrl, address: str, hello: str, known: Greeted) -> Greeted:
    reader, writer = await asyncio.open_connection(address, url.port)
    try:
        known = await _speak(url, hello, known, reader, writer)
        if known.unfit is None:
            writer.write(b"QUIT\r\n")  # whoever hangs up without it is a line in the relay's log
        return known
    finally:
        writer.close()


async def _speak(
    url: RelayUrl, hello: str, known: Greeted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Greeted:
    if url.security == "tls":
        known = await _begin_tls(writer, url.host, known)
        if known.unfit is not None:
            return known
    await _expect(reader, "220")
    features = await _command(reader, writer, f"EHLO {hello}", "250")
    known = known._replace(name=features[0].partition(" ")[0] or None)
    if url.security == "tls" or "STARTTLS" not in map(str.upper, features[1:]):
        return known
    await _command(reader, writer, "STARTTLS", "220")
    return await _begin_tls(writer, url.host, known)


async def _begin_tls(writer: asyncio.StreamWriter, host: str, known: Greeted) -> Greeted:
    """Begin TLS; return what is known with its version and the certificate's end, or why they can't be trusted."""
    known = known._replace(offers_tls=True)
    try:
        await writer.start_tls(ssl.create_default_context(), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return known._replace(unfit=_plain(error.verify_message))
    except (ssl.SSLError, ConnectionError) as error:
        cause = getattr(error, "reason", None) or type(error).__name__
        return known._replace(unfit=f"TLS doesn't begin ({_plain(cause)})")
    session = writer.get_extra_info("ssl_object")
    ends = ssl.cert_time_to_seconds(str(session.getpeercert()["notAfter"]))
    return known._replace(version=session.version(), ends_at=datetime.fromtimestamp(ends, UTC))


async def _command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str, expected: str) -> list[str]:
    writer.write(f"{line}\r\n".encode("ascii"))
    await writer.drain()
    return await _expect(reader, expected)


async def _expect(reader: asyncio.StreamReader, expected: str) -> list[str]:
    """Return the lines of a reply. Raises _Refused for another code than expected."""
    lines = []
    for _ in range(MOST_LINES):
        line = (await reader.readline()).decode("latin-1").rstrip("\r\n")
        if not line.startswith(expected):
            raise _Refused(f"answered {line[:3]!r} instead of {expected}" if line else "hung up")
        lines.append(line[4:])
        if line[3:4] != "-":
            return lines
    raise _Refused("didn't come to an end")


def check_tls(url: RelayUrl, greeted: Greeted, at: datetime) -> Line:
    """Return whether mails go to the relay over TLS that can be trusted."""
    if greeted.trouble is not None:
        return unknown("tls", f"The relay {greeted.trouble}", _TRY_AGAIN)
    if greeted.is_here and not url.verified:
        return right("tls", "The relay is on this machine, where nobody else can listen")
    if _is_inside(url, greeted) and (greeted.unfit or not greeted.offers_tls):
        says = f"{url.host} is in a private network, and offers no TLS that can be trusted"
        return unknown(
            "tls", says, "if others can listen in that network, give the relay a certificate and name it by smtp+starttls://"
        )
    if not greeted.offers_tls:
        says = f"{url.host} offers no TLS, so anybody on the way can read the mails"
        return wrong("tls", says, "let the relay offer STARTTLS, or name one that does in SMTP_URL")
    if greeted.unfit is not None:
        says = f"The certificate of {url.host} can't be trusted: {greeted.unfit}"
        return wrong(
            "tls",
            says,
            f"give the relay a certificate for {url.host} from a public authority, or name it as its certificate does",
        )
    assert greeted.ends_at is not None  # noqa: S101 - a certificate that verified has an end
    if greeted.ends_at - at < SOON:
        says = f"The certificate of {url.host} ends on {greeted.ends_at:%Y-%m-%d}, in less than {SOON.days} days"
        return wrong("tls", says, "renew it, and see why it isn't renewed by itself")
    return right("tls", f"{url.host} speaks {greeted.version}; its certificate is good until {greeted.ends_at:%Y-%m-%d}")


def _is_inside(url: RelayUrl, greeted: Greeted) -> bool:
    """Return whether the relay is on a network of one's own, and TLS isn't insisted on."""
    return url.security == "offered" and greeted.address is not None and ip_address(greeted.address).is_private


def _plain(message: str) -> str:
    return message.strip().rstrip(".").replace("_", " ").lower()
