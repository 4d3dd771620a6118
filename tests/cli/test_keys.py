"""`ballotpress keys rewrap`: a new vault key takes over, and the old one can go."""

from base64 import b64encode
from typing import Any

from events.log.vault import Vault
from tests.support.settings import VAULT_KEY
from tests.support.shell import Shell

NEW = b64encode(b"n" * 32).decode()


async def test_all_keys_come_under_the_newest(shell: Shell, connection: Any) -> None:
    """After the rewrap the new vault key alone opens texts sealed before it; a rewrap without the old key is refused."""
    vault = Vault([VAULT_KEY])
    sealed = {}
    for owner in ("one", "two", "three"):
        key, keep = vault.new_key(owner)
        await connection.execute(keep.sql, *keep.args)
        sealed[owner] = key.seal("body", f"text of {owner}")
    shell("keys", "rewrap", BALLOTPRESS_VAULT_KEYS=NEW).failed("BALLOTPRESS_VAULT_KEYS lacks the key")
    both = f"{NEW},{VAULT_KEY}"
    assert shell("keys", "rewrap", "--json", BALLOTPRESS_VAULT_KEYS=both).json() == {"rewrapped": 3}
    assert shell("keys", "rewrap", BALLOTPRESS_VAULT_KEYS=NEW).out.startswith("Rewrapped 0 keys")
    opened = await Vault([NEW]).keys_of(connection, sealed)
    assert {owner: key.open("body", sealed[owner]) for owner, key in opened.items()} == {
        owner: f"text of {owner}" for owner in sealed
    }
