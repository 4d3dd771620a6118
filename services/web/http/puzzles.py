"""Client puzzles: about a second of work that a write brings along, made and checked without keeping anything.

The construction is ALTCHA's proof of work (v2, its deterministic mode). PBKDF2 with HMAC-SHA-256 (RFC 8018) makes a key of a
number below `MOST`; the caller is told the key's first half, tries the numbers, and sends the whole key. Browsers compute
PBKDF2 as fast as programs do, which can't be said of single hashes. A puzzle is signed, is about one thing, and expires.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import pbkdf2_hmac, sha256
from typing import Final, NamedTuple

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from services.web.http.cursors import SIGNED

HEADER: Final = b"ballotpress-puzzle"
ALGORITHM: Final = "PBKDF2/SHA-256"
COST: Final = 2_000
"""Rounds of PBKDF2 a number. Making a puzzle costs as much, checking a solution next to nothing."""
MOST: Final = 1_000
SECONDS: Final = 300


class Puzzle(msgspec.Struct, frozen=True):
    """A puzzle: of which number below `most` does `algorithm`, with `salt` and `cost` rounds, make what begins with `wanted`?

    The number is taken in decimal, and of it are made 32 bytes, in hex. The solution is `token`, a colon, and all of these.
    """

    algorithm: str
    token: str
    salt: str
    cost: int
    most: int
    wanted: str
    expires_at: datetime


class _Kept(NamedTuple):
    """What a token keeps: the puzzle's salt, the Unix time at which it expires, and the hash of its solution."""

    salt: str
    expires: int
    solved: str


class Puzzles:
    """Makes puzzles and checks solutions. The first secret key signs; all of them verify, so keys can be rotated."""

    __slots__ = ("_oldest_first",)

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._oldest_first = [*reversed(secret_keys)]  # itsdangerous signs with the last

    def make(self, about: str, salt: str, number: int, now: datetime) -> Puzzle:
        """Return a puzzle that has this number below `MOST` as its solution, and is about one thing."""
        key = pbkdf2_hmac("sha256", str(number).encode(), salt.encode(), COST)
        expires = (now + timedelta(seconds=SECONDS)).replace(microsecond=0)
        kept = _Kept(salt, int(expires.timestamp()), sha256(key).hexdigest())
        token = self._serializer(about).dumps(kept)
        return Puzzle(ALGORITHM, token, salt, COST, MOST, key[:16].hex(), expires)

    def solved(self, about: str, solution: bytes, now: datetime) -> str | None:
        """Return the salt of the puzzle about this one thing that a solution solves in time; None if it solves none."""
        token, _, key = solution.rpartition(b":")
        try:
            kept = msgspec.convert(self._serializer(about).loads(token), _Kept)
            found = sha256(bytes.fromhex(key.decode("ascii"))).hexdigest()
        except (BadData, ValueError):
            return None
        return kept.salt if kept.expires > now.timestamp() and hmac.compare_digest(found, kept.solved) else None

    def _serializer(self, about: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._oldest_first, salt=f"puzzle {about}", signer_kwargs=SIGNED)
