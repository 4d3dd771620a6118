"""What is checked: a site's sender, relay and key, and an issue as a reader would get it."""

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from functools import cache, cached_property
from typing import Final, Literal

import msgspec
from publicsuffixlist import PublicSuffixList

Known = Literal["set", "looked up"]

ASK_AGAIN: Final = "run this again in a minute; if it stays so, name other DNS servers in BALLOTPRESS_DNS_SERVERS"


class DkimKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that signs: its domain and selector, the record that publishes it, and its length."""

    domain: str
    selector: str
    record: str
    bits: int

    @property
    def name(self) -> str:
        """The name at which its record is looked up (RFC 6376 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


class Specimen:
    """An issue as it would leave this site: its bytes, which are signed if we sign, and its headers."""

    def __init__(self, message: bytes) -> None:
        self.message = message

    @cached_property
    def parsed(self) -> EmailMessage:
        """The mail as a mail program reads it."""
        parsed = BytesParser(policy=SMTP).parsebytes(self.message)
        assert isinstance(parsed, EmailMessage)  # noqa: S101 - this policy makes no other
        return parsed

    @cached_property
    def signed_headers(self) -> frozenset[str]:
        """The names of the headers that our DKIM signature covers; none if we don't sign."""
        signature = str(self.parsed.get("DKIM-Signature", ""))
        tags = dict(part.strip().split("=", 1) for part in signature.split(";") if "=" in part)
        return frozenset(name.strip().lower() for name in tags.get("h", "").split(":") if name.strip())

    def header(self, name: str) -> str:
        """Return a header's value; nothing if it isn't there."""
        return str(self.parsed.get(name, ""))


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """A site: its sender, the name it greets by, its relay, and the addresses that the relay sends from.

    `outgoing` holds the addresses that are set; where there are none they are looked up. `key` is None where we don't sign, and
    `specimen` where none could be written, for the reason in `no_specimen`: that it would be too large, or another.
    """

    sender: str
    hello: str
    relay_url: str
    base_url: str
    outgoing: tuple[str, ...] = ()
    key: DkimKey | None = None
    broken_key: str | None = None
    specimen: Specimen | None = None
    no_specimen: str = ""
    is_too_large: bool = False

    @property
    def domain(self) -> str:
        """The domain of the sender, which bounces go back to as well: our envelopes have no other."""
        return self.sender.rpartition("@")[2].lower()


def organisation(domain: str) -> str:
    """Return the organisational domain (RFC 7489 3.2): the part of a domain that somebody registered."""
    return _suffixes().privatesuffix(domain.lower()) or domain.lower()


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(only_icann=False)  # read when it is first asked: ten thousand lines
