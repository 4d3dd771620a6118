"""What operators do with webhooks, alike from a shell, a program and a page."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

import msgspec

from events.log.command import IdempotencyKey
from events.log.committer import Committer
from events.log.vault import Vault
from services.clock import fresh_id
from services.webhooks.deliverer import deliver, trial
from services.webhooks.messages import Kind
from services.webhooks.posting import Poster, Reply
from services.webhooks.subscriptions import Database, Webhook, new_secret, new_webhook, read_one, read_secrets
from services.webhooks.target import read_target

LOOK_SECONDS: Final = 0.1
NOTE_MOST: Final = 200


class Made(msgspec.Struct, frozen=True):
    """A subscription with its newest secret, which is shown this once."""

    webhook: Webhook
    secret: str


async def add(
    database: Database,
    committer: Committer,
    vault: Vault,
    url: str,
    kinds: Sequence[Kind],
    note: str,
    by: str,
    *,
    allow_loopback: bool,
    key: IdempotencyKey | None = None,
) -> Made:
    """Subscribe an address to some kinds of messages, from the head on. Raises TargetRefused, TooManyWebhooks."""
    read_target(url, allow_loopback=allow_loopback)
    receipt = await committer.submit(new_webhook(vault, fresh_id(), url, list(dict.fromkeys(kinds)), note, by, key))
    return await _made(database, vault, receipt.value)


async def rotate(
    database: Database, committer: Committer, vault: Vault, id_: str, hours: int, by: str, key: IdempotencyKey | None = None
) -> Made:
    """Give a subscription a new secret; those before it sign for some hours more. Raises WebhookUnknown."""
    await committer.submit(await new_secret(database, vault, id_, hours, by, key))
    return await _made(database, vault, id_)


async def _made(database: Database, vault: Vault, id_: str) -> Made:
    return Made(await read_one(database, id_), (await read_secrets(database, vault, id_))[0])


async def when_quiet(database: Database, id_: str, seconds: float) -> Webhook:
    """Return a subscription once nothing of it is in flight, or after some seconds. Raises WebhookUnknown."""
    end = monotonic() + seconds
    while (found := await read_one(database, id_)).in_flight and monotonic() < end:
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def send_trial(database: Database, vault: Vault, poster: Poster, id_: str) -> Reply:
    """Send a subscription a message of the kind `webhook.test`, be it on or off. Raises WebhookUnknown."""
    found = await read_one(database, id_)
    message, body = trial(id_, found.kinds, fresh_id())
    return await deliver(poster, found.url, await read_secrets(database, vault, id_), message, body)
