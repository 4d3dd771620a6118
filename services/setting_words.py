"""What the words of a setting mean. Every reader raises ValueError for a word that is no such thing."""

from email.utils import parseaddr
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.setting_groups import Header


def checked(word: str, right: object) -> str:
    """Return a word that is right."""
    if not right:
        raise ValueError
    return word


def one_line(word: str) -> str:
    """Return a word that is one line of visible characters."""
    return checked(word, word.isprintable())


def sender(word: str) -> str:
    """Return the sender of mails: an ASCII address, with a name or without."""
    address = parseaddr(one_line(word))[1]
    return checked(word, "@" in address and address.isascii())


def zone(word: str) -> str:
    """Return the name of a time zone."""
    try:
        return checked(word, word == "UTC" or ZoneInfo(word))  # a small machine may lack the database of zones
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def file(word: str) -> Path:
    """Return the path of a file that is there."""
    return Path(checked(word, Path(word).is_file()))


def header(word: str) -> Header:
    """Return a header's name and value."""
    name, _, value = word.partition(":")
    return Header(name, value.strip())
