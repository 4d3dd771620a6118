"""Read addresses: strictly where people type them, quickly where mail is built. Both give an address one spelling.

An address is ASCII throughout, its domain by IDNA, and holds nothing that could end a header's line.
"""

import re
from functools import lru_cache
from typing import Final

import idna

LOCAL_LONGEST, ADDRESS_LONGEST = 64, 254  # RFC 5321 4.5.3.1

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')  # RFC 5321 4.1.2, Quoted-string


_DOTLESS = {"gmail.com", "googlemail.com"}
"""Domains of Gmail: their mailboxes are the same with and without dots."""
_ROLES: Final = frozenset((
    "abuse", "bounce", "bounces", "donotreply", "ftp", "hostmaster", "listserv", "mailer-daemon", "majordomo", "news",
    "no-reply", "nobody", "noc", "noreply", "postmaster", "root", "security", "spam", "usenet", "uucp", "webmaster", "www",
))  # fmt: skip
"""Local parts of duties and machines (RFC 2142 5 to 7 among them): nobody signs up for a newsletter there."""


class AddressRefused(ValueError):
    """The address can't be mailed to; the message says why, without the address."""


class NeedsSmtpUtf8(AddressRefused):
    """The part before the @ is not ASCII, so only a relay and a mailbox with SMTPUTF8 (RFC 6531) could take it."""


def read_address(text: str) -> str:
    """Return the address that a person typed, as `ascii_address` spells it. Raises AddressRefused.

    Asks nothing of the network. Refuses domains that are reserved, and local parts that aren't ASCII: few relays take them.
    """
    from email_validator import EmailNotValidError, validate_email  # loads slowly, and most processes read no address

    if len(text) > ADDRESS_LONGEST:
        raise AddressRefused("it is too long")
    try:
        found = validate_email(text.strip(), check_deliverability=False, allow_quoted_local=True, allow_smtputf8=False)
        return ascii_address(found.ascii_email or "")
    except (EmailNotValidError, AddressRefused):
        raise AddressRefused("it is not an address that mail can be sent to") from None


def mailbox_of(address: str) -> str:
    """Return the mailbox that an address most likely leads to: lower case, without a tag (`+news`), at Gmail without dots."""
    local, _, domain = address.lower().rpartition("@")
    name = local.strip('"')
    name = name[: name.find("+", 1)] if "+" in name[1:] else name
    return f"{name.replace('.', '')}@gmail.com" if domain in _DOTLESS else f"{name}@{domain}"


def is_role(address: str) -> bool:
    """Return whether an address is that of a duty or a machine, such as `abuse@` and `noreply@`, and not of a reader."""
    return mailbox_of(address).rpartition("@")[0] in _ROLES or address.lower().rpartition("@")[0].strip('"') in _ROLES


def ascii_address(address: str) -> str:
    """Return the address with its domain in A-labels and lower case. Raises AddressRefused."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise AddressRefused("an address has a name, an @ and a domain")
    if not local.isascii():
        raise NeedsSmtpUtf8("the part before the @ holds characters that need SMTPUTF8")
    if len(local) > LOCAL_LONGEST or not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise AddressRefused("the part before the @ is malformed")
    address = f"{local}@{_ascii_domain(domain)}"
    if len(address) > ADDRESS_LONGEST:
        raise AddressRefused(f"an address has at most {ADDRESS_LONGEST} characters")
    return address


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str:
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode()
    except UnicodeError as error:  # idna.IDNAError is one
        raise AddressRefused("the domain is malformed") from error
    if "." not in encoded.rstrip("."):
        raise AddressRefused("the domain has no dot")
    return encoded.rstrip(".")
