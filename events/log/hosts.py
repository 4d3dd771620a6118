"""The hosts that a URL of PostgreSQL's names, read as libpq and asyncpg read them."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

ATTRIBUTES: Final = ("any", "read-write", "primary")
"""What a session may be wanted for, of libpq's `target_session_attrs`: the log is always written through it."""


class HostsMalformed(ValueError):
    """The hosts or ports of a URL can't be used; the text continues the name of its variable."""


class Host(msgspec.Struct, frozen=True):
    """One server: a name, an address or the folder of its socket; and its port, if the URL names one."""

    name: str
    port: int | None = None

    @property
    def is_folder(self) -> bool:
        """Tell whether it is reached by a Unix socket."""
        return self.name.startswith("/")

    @property
    def is_address(self) -> bool:
        """Tell whether nothing need be looked up."""
        try:
            ip_address(self.name.partition("%")[0])
        except ValueError:
            return self.is_folder
        return True

    def __str__(self) -> str:
        """Name it in a sentence."""
        name = f"[{self.name}]" if ":" in self.name and self.port else self.name
        return f"{name}:{self.port}" if self.port else name


class Address(msgspec.Struct, frozen=True):
    """What a URL says of where to go: its hosts in order, what the session must be good for, and how names are checked."""

    hosts: tuple[Host, ...]
    attributes: str
    checks_names: bool

    @property
    def must_search(self) -> bool:
        """Tell whether the server that takes writes must be found among several."""
        return len(self.hosts) > 1 or (bool(self.hosts) and self.attributes != "any")


def read(dsn: str) -> Address:
    """Return what a URL says of where to go; no hosts if a service or the environment names them. Raises HostsMalformed."""
    options = dict(parse_qsl(urlsplit(dsn).query, keep_blank_values=True))
    attributes = options.get("target_session_attrs") or "any"
    return Address(of(dsn), attributes, options.get("sslmode") == "verify-full")


def of(dsn: str) -> tuple[Host, ...]:
    """Return the hosts that a URL names, in its order, each once. Raises HostsMalformed."""
    parts = urlsplit(dsn)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    ports = options.get("port", "")
    if named := parts.netloc.rpartition("@")[2]:
        if ports and "," in named:
            raise HostsMalformed("names ports apart from its hosts: name them together, as in HOST:PORT,HOST:PORT")
        found = [_host(*_divided(word)) for word in named.split(",")]
    elif named := options.get("host", ""):
        words = named.split(",")
        found = [_host(*both) for both in zip(words, _ports(ports, len(words)), strict=True)] if ports else [
            _host(*_divided(word)) for word in words
        ]  # fmt: skip
    else:
        found = []
    return tuple(dict.fromkeys(found))


def one(dsn: str, host: Host) -> str:
    """Return the same URL for one of its hosts, whatever that one does: a session is wanted there."""
    parts = urlsplit(dsn)
    options = {**dict(parse_qsl(parts.query, keep_blank_values=True)), "host": host.name}
    options.pop("target_session_attrs", None)
    options.pop("port", None)
    if host.port is not None:
        options["port"] = str(host.port)
    user, at, _ = parts.netloc.rpartition("@")
    if ":" in host.name and not host.is_folder:  # in the query asyncpg takes what follows a colon for a port
        del options["host"]
        port = f":{options.pop('port')}" if host.port is not None else ""
        at += f"[{quote(host.name, safe=':')}]{port}"
    return f"{parts.scheme}://{user}{at}{parts.path}?{urlencode(options, quote_via=quote)}"


def _divided(word: str) -> tuple[str, str]:
    """Return a host and its port as they were written."""
    if word.startswith("/"):
        return word, ""
    if word.startswith("["):
        name, _, rest = word[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = word.partition(":")
    return name, port


def _ports(words: str, hosts: int) -> list[str]:
    ports = words.split(",")
    if len(ports) not in (1, hosts):
        raise HostsMalformed(f"names {hosts} hosts and {len(ports)} ports: give one port, or one for each host")
    return ports if len(ports) == hosts else ports * hosts


def _host(name: str, port: str) -> Host:
    if not (name := unquote(name)):
        raise HostsMalformed("names a host that is empty: is there a comma too many?")
    try:
        name.encode("idna")
    except UnicodeError:
        if not name.startswith("/"):
            raise HostsMalformed(
                "names a host that can be none: is there a dot too many, or a part of over 63 letters?"
            ) from None
    port = unquote(port)
    if port and not (port.isdecimal() and port.isascii() and 0 < int(port) < 65536):
        raise HostsMalformed("names a port that isn't a number from 1 to 65535")
    return Host(name, int(port) if port else None)
