"""What the vault promises: sealed texts open for their owner and field only, and destroyed keys erase them."""

import base64
import os
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from events.log.vault import Erased, Key, SealBroken, Vault, VaultKeyMissing, destroy
from tests.support.given import an_id

ADA, BOB = an_id(1), an_id(2)


def vault_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def short_id(key: str) -> str:
    return sha256(base64.b64decode(key)).hexdigest()[:8]


async def keep(connection: Any, vault: Vault, owner: str) -> Key:
    key, effect = vault.new_key(owner)
    await connection.execute(effect.sql, *effect.args)
    return key


@for_any(st.text())
def test_what_is_sealed_opens(text: str) -> None:
    """Any text opens as it was sealed, and never looks the same twice."""
    key = Key(ADA, bytes(32))
    sealed = key.seal("text", text)
    assert key.open("text", sealed) == text
    assert key.seal("text", text) != sealed


def test_a_sealed_text_opens_as_nothing_else() -> None:
    """Another owner, field or key, a changed byte, or what is no seal at all is told apart from a text."""
    raw = os.urandom(32)
    sealed = Key(ADA, raw).seal("text", "What I think of it.")
    changed = bytearray(base64.b64decode(sealed))
    changed[-1] ^= 1
    for key, field, text in [
        (Key(BOB, raw), "text", sealed),
        (Key(ADA, raw), "name", sealed),
        (Key(ADA, os.urandom(32)), "text", sealed),
        (Key(ADA, raw), "text", base64.b64encode(changed).decode()),
        (Key(ADA, raw), "text", ""),
        (Key(ADA, raw), "text", "no base64"),
    ]:
        with pytest.raises(SealBroken):
            key.open(field, text)


async def test_kept_keys_are_read_in_one_go(connection: Any) -> None:
    """Keys of many owners are read by one query; who has none is left out."""
    vault = Vault([vault_key()])
    sealed = {owner: (await keep(connection, vault, owner)).seal("text", owner) for owner in (ADA, BOB)}
    keys = await vault.keys_of(connection, [ADA, BOB, an_id(3)])
    assert {owner: key.open("text", sealed[owner]) for owner, key in keys.items()} == {ADA: ADA, BOB: BOB}


async def test_a_destroyed_key_is_erased(connection: Any) -> None:
    """Once its key is destroyed an owner reads as erased; others don't."""
    vault = Vault([vault_key()])
    for owner in (ADA, BOB):
        await keep(connection, vault, owner)
    effect = destroy(ADA)
    await connection.execute(effect.sql, *effect.args)
    with pytest.raises(Erased):
        await vault.key_of(connection, ADA)
    assert (await vault.key_of(connection, BOB)).owner == BOB


async def test_wrapped_keys_cannot_be_swapped(connection: Any) -> None:
    """A row moved to another owner does not open."""
    vault = Vault([vault_key()])
    for owner in (ADA, BOB):
        await keep(connection, vault, owner)
    await connection.execute(
        "update vault.keys k set wrapped = o.wrapped from vault.keys o where k.owner = $1 and o.owner = $2", ADA, BOB
    )
    with pytest.raises(SealBroken):
        await vault.key_of(connection, ADA)


async def test_no_key_opens_without_its_vault_key(connection: Any) -> None:
    """What the database holds opens nothing without the vault key."""
    await keep(connection, Vault([vault_key()]), ADA)
    with pytest.raises(VaultKeyMissing, match="BALLOTPRESS_VAULT_KEYS"):
        await Vault([vault_key()]).key_of(connection, ADA)


async def test_rewrapping_moves_every_key_to_the_newest(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rewrap, in however many chunks, the newest vault key alone opens everything; a second one has nothing to do."""
    monkeypatch.setattr("events.log.vault.REWRAP_CHUNK", 2)
    old, new = vault_key(), vault_key()
    owners = [an_id(n) for n in range(5)]
    sealed = {owner: (await keep(connection, Vault([old]), owner)).seal("text", owner) for owner in owners}
    await keep(connection, Vault([new, old]), BOB + "x")
    assert await Vault([new, old]).rewrap(connection) == 5
    assert await Vault([new, old]).rewrap(connection) == 0
    keys = await Vault([new]).keys_of(connection, owners)
    assert {owner: key.open("text", sealed[owner]) for owner, key in keys.items()} == {owner: owner for owner in owners}


async def test_rewrapping_names_the_key_it_lacks(connection: Any) -> None:
    """With a vault key missing nothing is changed, and the error names the one that is missing."""
    lost, old, new = vault_key(), vault_key(), vault_key()
    await keep(connection, Vault([old]), ADA)
    await keep(connection, Vault([lost]), BOB)
    with pytest.raises(VaultKeyMissing) as caught:
        await Vault([new, old]).rewrap(connection)
    assert short_id(lost) in str(caught.value)
    assert (await Vault([old]).key_of(connection, ADA)).owner == ADA


async def test_an_interrupted_rewrap_loses_nothing(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrap that fails halfway leaves every key readable, and the next one finishes it."""
    monkeypatch.setattr("events.log.vault.REWRAP_CHUNK", 2)
    old, new = vault_key(), vault_key()
    owners = [an_id(n) for n in range(5)]
    for owner in owners:
        await keep(connection, Vault([old]), owner)
    await connection.execute(
        f"alter table vault.keys add constraint halfway check (owner <> '{owners[3]}' or wrapped_under = '{short_id(old)}')"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await Vault([new, old]).rewrap(connection)
    assert set(await Vault([new, old]).keys_of(connection, owners)) == set(owners)
    await connection.execute("alter table vault.keys drop constraint halfway")
    assert await Vault([new, old]).rewrap(connection) == 3
    assert set(await Vault([new]).keys_of(connection, owners)) == set(owners)


@pytest.mark.parametrize("keys", [[], ["short"], [base64.b64encode(bytes(16)).decode()]])
def test_a_vault_needs_proper_keys(keys: list[str]) -> None:
    """A vault without a key of 32 bytes is refused at once."""
    with pytest.raises(ValueError, match=r"32 bytes|base64|[Pp]adding"):
        Vault(keys)
