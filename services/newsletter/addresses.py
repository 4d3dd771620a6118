"""Addresses of mail: read strictly, sealed at once."""

from typing import Final

from email_validator import EmailNotValidError, validate_email

from events.commands.subscribers import Person
from events.log.vault import Finder, Vault
from services.fresh_ids import fresh_id

MOST_CHARACTERS: Final = 254  # RFC 5321, 4.5.3.1.3, without the angle brackets


class AddressInvalid(Exception):
    """Nothing can be mailed there; the message says why and doesn't repeat the address."""


def read_address(text: str) -> str:
    """Give an address as it is written on an envelope, its domain in ASCII; AddressInvalid.

    Nothing is asked of the network. Addresses whose local part isn't ASCII (RFC 6531) are refused: few relays take them.
    """
    if len(text) > MOST_CHARACTERS:
        raise AddressInvalid("it is too long")
    try:
        found = validate_email(text.strip(), check_deliverability=False, allow_quoted_local=True, allow_smtputf8=False)
    except EmailNotValidError:
        raise AddressInvalid("it is not an address that mail can be sent to") from None
    if found.ascii_email is None or not found.ascii_email.isprintable():
        raise AddressInvalid("it is not an address that mail can be sent to")
    return found.ascii_email


def new_person(vault: Vault, finder: Finder, address: str) -> Person:
    """Make the subscriber that an address would be, were it unknown, its address sealed under a key of its own."""
    person = fresh_id()
    key, keep = vault.new_key(person)
    return Person(person, key.seal("address", address), finder.mark(address), keep)
