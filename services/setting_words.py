"""What the words of a setting mean. Every reader raises ValueError for a word that is no such thing."""

from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.setting_groups import DnsServer, Header, Hours

Word = TypeVar("Word")


def checked(word: Word, right: object) -> Word:
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


def ip(word: str) -> str:
    """Return an IP address in its one spelling."""
    return str(ip_address(word))


def dns_server(word: str) -> DnsServer:
    """Return a DNS server, whose port is 53 unless it is named; that of an IPv6 address follows brackets."""
    address, _, port = word[1:].partition("]") if word.startswith("[") else (word, "", "")
    if not port and word.count(":") == 1:
        address, _, port = word.partition(":")
    number = int(port.removeprefix(":") or 53)
    return DnsServer(ip(address), checked(number, 0 < number < 65536))


def hours(word: str) -> Hours:
    """Return hours of the clock such as 8-20 or 22-6; 24 is midnight."""
    opens, closes = map(int, word.split("-"))
    if opens > 23 or closes > 24 or opens == closes % 24:
        raise ValueError
    return Hours(opens, closes)


def otlp_header(word: str) -> Header:
    """Return a header that is written as `name=value`, the value percent-encoded (OpenTelemetry's form)."""
    name, _, value = word.partition("=")
    return Header(name.strip().lower(), unquote(value.strip()))
