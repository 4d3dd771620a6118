"""The addresses of PostgreSQL and Valkey: what libpq and Valkey's clients take is taken alike by every process, or refused.

Refusals never repeat an address, since it may hold a password.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from events.log import hosts

# What asyncpg reads of a URL's query; libpq knows all of them too.
_TAKEN: Final = re.compile(
    "host|port|dbname|user|password|passfile|service|sslmode|sslcert|sslkey|sslrootcert|sslcrl|sslpassword|sslnegotiation"
    "|ssl_(min|max)_protocol_version|target_session_attrs|krbsrvname|gsslib|options"
)
# What libpq knows and every connection of ours settles by itself: its time-outs, its name, its encoding. TLS is made with
# `sslmode`; asyncpg binds no channel, which `prefer` leaves to the client and `require`, as hosted servers print it, asks for.
_SETTLED: Final = re.compile(
    "(fallback_)?application_name|channel_binding|client_encoding|connect_timeout|gssencmode|keepalives(_count|_idle|_interval)?"
    "|load_balance_hosts|sslcertmode|sslcompression|sslsni|tcp_user_timeout"
)
_NEVER: Final = {"gssencmode": "require", "sslcertmode": "require"}
_DATABASE_NUMBER: Final = re.compile(r"/?[0-9]*")


class UrlError(ValueError):
    """An address that can't be used; the text continues the name of its variable."""


def read_database_url(url: str) -> str:
    """Return the URL of a database that is written to. Raises UrlError."""
    kept = read_libpq_url(url)
    if (wanted := hosts.read(kept).attributes) not in hosts.ATTRIBUTES:
        raise UrlError(
            f"asks for target_session_attrs={wanted}: votes are written through it, so leave it out,"
            " or take read-write or primary"
        )
    return kept


def read_replicas_url(url: str) -> str:
    """Return the URL of replicas that are read from; each is asked for itself what it is. Raises UrlError."""
    kept = read_libpq_url(url)
    if not hosts.of(kept):
        raise UrlError("names no host: name the replicas, as in postgresql://USER@replica-1,replica-2/NAME")
    return kept


def read_libpq_url(url: str) -> str:
    """Return a URL of libpq's as asyncpg takes it. Raises UrlError."""
    try:
        query = urlsplit(url).query
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise UrlError("isn't a URL that can be read: escape special characters in names and passwords, as %40 for @") from None
    kept = []
    for name, value in options:
        if _NEVER.get(name) == value:
            raise UrlError(f"asks for {name}={value}, which isn't supported: leave it out")
        if _TAKEN.fullmatch(name):
            kept.append((name, value))
        elif not _SETTLED.fullmatch(name):
            raise UrlError(f"has the unknown option {name!r}: leave it out, or give settings as options=-c%20NAME=VALUE")
    try:
        hosts.of(url)
    except hosts.HostsMalformed as error:
        raise UrlError(str(error)) from None
    return url if kept == options else f"{url.partition('?')[0]}?{urlencode(kept, quote_via=quote)}"


def read_valkey_url(url: str) -> str:
    """Return a URL of Valkey's once a connection could be made by it. Raises UrlError."""
    from redis.asyncio.connection import ConnectionPool  # every command reads settings, and few need Valkey
    from redis.exceptions import RedisError

    try:
        parts = urlsplit(url)
        if "," in parts.netloc.rpartition("@")[2]:
            raise UrlError("names several hosts: name one, or a proxy before them")
        if parts.scheme.lower() != "unix" and not _DATABASE_NUMBER.fullmatch(parts.path):
            raise UrlError("must end in the number of a database, such as /0")
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except UrlError:
        raise
    except TypeError as error:
        raise UrlError(f"has an unknown option: {str(error).rpartition(' ')[2]}") from None
    except (ValueError, RedisError, OSError) as error:
        raise UrlError(f"can't be used: {error}") from None
    return url
