"""The vault: personal texts are sealed under a key of their owner's, and erased by destroying that key.

AES-256-GCM throughout. An owner is a review's or a subscriber's id. A sealed text is bound to its owner and field and opens as
no other. Keys are stored wrapped under the newest vault key, each bound to its owner.
"""

import base64
import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

import asyncpg
from asyncpg import Connection
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.log.command import Effect
from events.log.reads import Reads

Database: TypeAlias = "Connection[Any] | asyncpg.Pool[Any]"

KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D: 96 random bits are safe for 2^32 texts under one key
REWRAP_CHUNK = 500
FINDER = "address look-up"  # no owner's id has a space

KEEP = "insert into vault.keys (owner, wrapped, wrapped_under) values ($1, $2, $3)"
DESTROY = "delete from vault.keys where owner = $1"
READ = "select owner, wrapped, wrapped_under from vault.keys where owner = any($1::text[])"
KEEP_SECRET = KEEP + " on conflict (owner) do nothing"
READ_VAULT_KEYS = "select distinct wrapped_under from vault.keys order by wrapped_under"
COUNT_OLD = "select count(*) from vault.keys where wrapped_under <> $1"
READ_OLD = """
select owner, wrapped, wrapped_under from vault.keys
where owner > $1 and wrapped_under <> $2 order by owner limit $3
"""
# A key destroyed or rewrapped by another since it was read is left alone.
REWRAP = """
update vault.keys k set wrapped = n.wrapped, wrapped_under = $4
from unnest($1::text[], $2::bytea[], $3::text[]) as n(owner, wrapped, old)
where k.owner = n.owner and k.wrapped_under = n.old
"""


class Erased(Exception):
    """The owner's key is not in the vault, so its texts are gone. The argument is the owner."""


class VaultKeyMissing(Exception):
    """A key is wrapped under a vault key that BALLOTPRESS_VAULT_KEYS does not hold; the argument is its short id."""

    def __str__(self) -> str:
        return f"BALLOTPRESS_VAULT_KEYS lacks the key {self.args[0]}, under which keys in the vault are wrapped: add it back"


class SealBroken(Exception):
    """A sealed text does not open: it has another key, owner or field, or its bytes were changed."""


def _seal(aead: AESGCM, plain: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + aead.encrypt(nonce, plain, bound_to.encode())


def _open(aead: AESGCM, sealed: bytes, bound_to: str) -> bytes:
    try:
        return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):
        raise SealBroken(bound_to.partition("\0")[0]) from None


class Key:
    """An owner's key. Its bytes can't be read back."""

    __slots__ = ("_aead", "owner")

    def __init__(self, owner: str, raw: bytes) -> None:
        self.owner = owner
        self._aead = AESGCM(raw)

    def seal(self, field: str, text: str) -> str:
        """Return a field's text sealed, in base64; never twice the same."""
        return base64.b64encode(_seal(self._aead, text.encode(), f"{self.owner}\0{field}")).decode("ascii")

    def open(self, field: str, sealed: str) -> str:
        """Return the text that was sealed as this field. Raises SealBroken if it was not."""
        try:
            raw = base64.b64decode(sealed, validate=True)
        except ValueError:
            raise SealBroken(self.owner) from None
        return _open(self._aead, raw, f"{self.owner}\0{field}").decode()


class Finder:
    """Makes the marks by which an address is found without being stored: an HMAC-SHA256 under a key for that alone."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mark(self, address: str) -> bytes:
        """Return the mark of an address; its case doesn't matter."""
        return hmac.digest(self._key, address.casefold().encode(), "sha256")


class Vault:
    """The keys of owners, wrapped under the vault keys (base64 of 32 bytes each, newest first)."""

    def __init__(self, keys: Sequence[str]) -> None:
        raws = [base64.b64decode(key, validate=True) for key in keys]
        if not raws or any(len(raw) != KEY_BYTES for raw in raws):
            raise ValueError(f"the vault needs one or more keys of {KEY_BYTES} bytes in base64")
        self._vault_keys = {sha256(raw).hexdigest()[:8]: AESGCM(raw) for raw in raws}
        self._newest = next(iter(self._vault_keys))

    def new_key(self, owner: str) -> tuple[Key, Effect]:
        """Return a key for a new owner, and the effect that stores it, for the command that first names the owner."""
        raw = os.urandom(KEY_BYTES)
        return Key(owner, raw), Effect(KEEP, (owner, self._wrap(owner, raw), self._newest))

    async def keys_of(self, connection: Reads, owners: Iterable[str]) -> dict[str, Key]:
        """Return owners' keys, read in one query; erased owners are left out. Raises VaultKeyMissing, SealBroken."""
        rows = await connection.fetch(READ, list(owners))
        return {row["owner"]: self.key_in(row) for row in rows}

    def key_in(self, row: Any) -> Key:
        """Return the key that a row holds: `owner`, `wrapped`, `wrapped_under`. Raises VaultKeyMissing, SealBroken."""
        return Key(row["owner"], self._unwrap(row))

    async def key_of(self, connection: Reads, owner: str) -> Key:
        """Return an owner's key. Raises Erased if there is none."""
        keys = await self.keys_of(connection, [owner])
        if owner not in keys:
            raise Erased(owner)
        return keys[owner]

    async def finder(self, connection: Database) -> Finder:
        """Return the finder of addresses; its key is made at the first use and stored, wrapped, beside the owners'."""
        raw = os.urandom(KEY_BYTES)
        row = await connection.fetchrow(READ, [FINDER])
        if row is None:
            await connection.execute(KEEP_SECRET, FINDER, self._wrap(FINDER, raw), self._newest)
            row = await connection.fetchrow(READ, [FINDER])
        return Finder(self._unwrap(row))

    async def rewrap(self, connection: "Connection[Any]", progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Wrap every key under the newest vault key; return how many were not. Calls `progress` with the done and the total.

        It may be interrupted and run again. Raises VaultKeyMissing before anything is changed.
        """
        for row in await connection.fetch(READ_VAULT_KEYS):
            self._vault_key(row["wrapped_under"])
        of = await self.not_rewrapped(connection)
        count, after = 0, ""
        while rows := await connection.fetch(READ_OLD, after, self._newest, REWRAP_CHUNK):
            owners = [row["owner"] for row in rows]
            wrapped = [self._wrap(row["owner"], self._unwrap(row)) for row in rows]
            done = await connection.execute(REWRAP, owners, wrapped, [row["wrapped_under"] for row in rows], self._newest)
            count += int(done.removeprefix("UPDATE "))
            after = owners[-1]
            progress(count, of)
        return count

    async def missing(self, connection: Reads) -> list[str]:
        """Return the short ids of the vault keys that we lack, though keys are wrapped under them."""
        rows = await connection.fetch(READ_VAULT_KEYS)
        return [row["wrapped_under"] for row in rows if row["wrapped_under"] not in self._vault_keys]

    async def not_rewrapped(self, connection: Reads) -> int:
        """Return how many keys are wrapped under another vault key than the newest."""
        count: int = await connection.fetchval(COUNT_OLD, self._newest)
        return count

    def _vault_key(self, short_id: str) -> AESGCM:
        if short_id not in self._vault_keys:
            raise VaultKeyMissing(short_id)
        return self._vault_keys[short_id]

    def _wrap(self, owner: str, raw: bytes) -> bytes:
        return _seal(self._vault_keys[self._newest], raw, f"{owner}\0key")

    def _unwrap(self, row: Any) -> bytes:
        return _open(self._vault_key(row["wrapped_under"]), row["wrapped"], f"{row['owner']}\0key")


def destroy(owner: str) -> Effect:
    """Return the effect that destroys an owner's key, for the command whose event records it."""
    return Effect(DESTROY, (owner,))
