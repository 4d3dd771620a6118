"""The webhooks' part of the worker: a deliverer that runs beside arq's jobs, with connections of its own."""

import asyncio
from typing import Any

import asyncpg

from events.log import postgres
from events.log.tasks import end
from events.log.vault import Vault
from services.settings import Settings
from services.webhooks.deliverer import STOP_SECONDS, Deliverer
from services.webhooks.posting import Poster


def pool(dsn: str) -> "asyncpg.Pool[Any]":
    """Return a pool to deliver by: what is to be told next is kept, so no part of the log may be passed over."""
    return postgres.pool(
        dsn,
        "webhooks",
        size=4,
        seconds=60,
        idle_in_transaction_session_timeout="10000",
        lock_timeout="2000",
        plan_cache_mode=postgres.ANEW,
    )


class Desk:
    """Everything one worker needs to deliver webhooks; open between `open` and `close`."""

    _database: "asyncpg.Pool[Any]"
    _deliverer: Deliverer

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._delivering: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and begin to deliver."""
        settings = self._settings
        self._database = await pool(settings.database_url)
        poster = Poster(allow_loopback=settings.webhook_loopback)
        vault = Vault(settings.vault_keys)
        self._deliverer = Deliverer(self._database, vault, poster, most_failures=settings.webhook_failures)
        self._delivering = asyncio.create_task(self._deliverer.run())

    async def close(self) -> None:
        """Finish what is being sent, and disconnect."""
        if self._delivering is not None:
            self._deliverer.stop()
            await asyncio.wait([self._delivering], timeout=STOP_SECONDS)
            await end(self._delivering)
            await self._database.close()
