"""Subscriptions as operators see them, and the making of new ones. A secret is shown to whoever makes it, then never again."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from events.commands.webhooks import AddWebhook, RotateSecret, WebhookUnknown
from events.log.command import IdempotencyKey
from events.log.vault import Vault
from services.webhooks.messages import Kind
from services.webhooks.signing import SECRET_BYTES, spell_secret

Database: TypeAlias = "Pool[Any] | Connection[Any]"

ROTATION_HOURS: Final = 24
"""So long a replaced secret still signs."""
_FIELD: Final = "webhook secret"

READ: Final = """
select s.id, s.url, s.kinds, s.note, s.made_by, s.made_at, s.is_on, s.off_reason, s.off_at, s.position,
       greatest(0, (select h.position from log.head h) - s.position) as lag, s.failures, s.failed, s.failed_at, s.delivered_at,
       case when s.is_on and s.failures > 0 then s.not_before end as next_attempt_at,
       coalesce(s.leased_until > now(), false) as in_flight,
       (select count(*) from webhooks.secrets c
        where c.subscription = s.id and (c.ends_at is null or c.ends_at > now())) as secrets
from webhooks.subscriptions s
where $1::text is null or s.id = $1
order by s.made_at, s.id
"""
READ_SECRETS: Final = """
select sealed from webhooks.secrets where subscription = $1 and (ends_at is null or ends_at > now()) order by made_at desc
"""


class Webhook(msgspec.Struct, frozen=True):
    """A subscription: where its cursor is, and how its deliveries fare.

    `lag` counts the positions that are not yet told; `failures` those in a row. While `in_flight`, a delivery may be under way.
    `secrets` is how many sign.
    """

    id: str
    url: str
    kinds: Sequence[Kind]
    note: str
    made_by: str
    made_at: datetime
    is_on: bool
    off_reason: str | None
    off_at: datetime | None
    position: int
    lag: int
    failures: int
    failed: str | None
    failed_at: datetime | None
    delivered_at: datetime | None
    next_attempt_at: datetime | None
    in_flight: bool
    secrets: int


async def read_all(database: Database) -> list[Webhook]:
    """Return all subscriptions, the oldest first."""
    return [Webhook(**row) for row in await database.fetch(READ, None)]


async def read_one(database: Database, id_: str) -> Webhook:
    """Return a subscription. Raises WebhookUnknown."""
    row = await database.fetchrow(READ, id_)
    if row is None:
        raise WebhookUnknown(id_)
    return Webhook(**row)


async def read_secrets(database: Database, vault: Vault, id_: str) -> list[str]:
    """Return the secrets that sign a subscription's messages now, the newest first.

    Raises Erased, VaultKeyMissing, SealBroken.
    """
    key = await vault.key_of(database, id_)
    return [key.open(_FIELD, row["sealed"]) for row in await database.fetch(READ_SECRETS, id_)]


def new_webhook(
    vault: Vault, id_: str, url: str, kinds: Sequence[Kind], note: str, by: str, key: IdempotencyKey | None = None
) -> AddWebhook:
    """Return the command that subscribes an address, with a secret of its own."""
    owner, keep = vault.new_key(id_)
    sealed = owner.seal(_FIELD, spell_secret(secrets.token_bytes(SECRET_BYTES)))
    return AddWebhook(id=id_, url=url, kinds=kinds, note=note, by=by, sealed=sealed, keep=keep, key=key)


async def new_secret(
    database: Database, vault: Vault, id_: str, hours: int, by: str, key: IdempotencyKey | None = None
) -> RotateSecret:
    """Return the command that gives a subscription a new secret. Raises WebhookUnknown."""
    await read_one(database, id_)
    owner = await vault.key_of(database, id_)
    sealed = owner.seal(_FIELD, spell_secret(secrets.token_bytes(SECRET_BYTES)))
    return RotateSecret(id=id_, by=by, sealed=sealed, hours=hours, key=key)
