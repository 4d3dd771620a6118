"""Ids of visitors, tools and reviews, and the streams made from them.

An id is a UUIDv7 (RFC 9562, 5.7) written as 22 characters of unpadded base64url; the same 16 bytes are its stream's uuid.
Clock and randomness are arguments.
"""

import base64
import re
from binascii import a2b_base64
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as _UUID  # a uuid.UUID written in C: made once or twice a vote

# The last of 22 characters carries 2 bits; any other last character would be a second spelling of the same id.
# `$` alone would let a newline follow.
ID: Final = r"^[A-Za-z0-9_-]{21}[AQgw]$(?!\n)"
SLUG: Final = r"^[a-z0-9-]{1,120}$(?!\n)"
"""A name in addresses, for what has an id besides."""
_ID: Final = re.compile(ID)
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def new_id(milliseconds: int, randomness: bytes) -> str:
    """Return an id made from Unix time in milliseconds and 10 random bytes (RFC 9562, 5.7)."""
    value = int.from_bytes(milliseconds.to_bytes(6, "big") + randomness[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return from_bytes(value.to_bytes(16, "big"))


def is_id(text: str) -> bool:
    """Return whether a text is the one spelling of some id."""
    return _ID.fullmatch(text) is not None


def from_bytes(raw: bytes) -> str:
    """Return the id that 16 bytes spell."""
    return base64.urlsafe_b64encode(raw)[:22].decode("ascii")


def made_at(id_: str) -> datetime:
    """Return when an id was made, to the millisecond. Raises ValueError if it is none."""
    return datetime.fromtimestamp(int.from_bytes(to_bytes(id_)[:6], "big") / 1000, UTC)


@lru_cache(1024)
def to_bytes(id_: str) -> bytes:
    """Return the 16 bytes of an id. Raises ValueError if it is none. A vote asks for its voter's twice."""
    if _ID.fullmatch(id_) is None:
        raise ValueError(f"not an id: {id_!r}")
    return a2b_base64(id_.encode().translate(_STANDARD) + b"==")


def stream_of(id_: str) -> UUID:
    """Return the stream of a tool, review, voter or subscriber: its id as a uuid."""
    return _UUID(to_bytes(id_))


def stream_beside(id_: str, category: str, *parts: str) -> UUID:
    """Return a stream that sorts beside its owner's id: the id's first 8 bytes, then 8 of a hash of category and all parts.

    So a voter's streams are one range of the log's primary key, and streams made at one moment are inserted side by side.
    """
    hashed = _hash_of(category).copy()
    hashed.update("\0".join((id_, *parts)).encode())
    return _UUID(to_bytes(id_)[:8] + hashed.digest())


@lru_cache
def _hash_of(category: str) -> blake2b:
    """Return a category's hash of nothing yet; a copy is made in less time than its parameters are read."""
    return blake2b(digest_size=8, person=category.encode())


def stream_named(category: str, *parts: str) -> UUID:
    """Return the stream of something without an id: a hash of its category and parts."""
    return _UUID(blake2b("\0".join(parts).encode(), digest_size=16, person=category.encode()).digest())
