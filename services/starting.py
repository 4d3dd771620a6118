"""What a process waits for before it starts its work, and what keeps it from starting."""

import asyncio
import logging
from typing import Final

from events.log import migrate, postgres
from events.log.vault import Vault, VaultKeyMissing
from services.settings import Settings

LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks."""

logger = logging.getLogger(__name__)


async def await_schema(dsn: str, name: str) -> None:
    """Wait until the database has this release's schema; say once what is awaited."""
    pause, said = 0.5, None
    while (what := await _lacking(dsn)) is not None:
        if what != said:
            logger.warning("the %s waits: %s", name, what)
            said = what
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    if said is not None:
        logger.info("the %s begins", name)


async def _lacking(dsn: str) -> str | None:
    try:
        connection = await postgres.connect(dsn, "start", seconds=5)
        try:
            seen, ours = await migrate.migrated(connection), migrate.current()
        finally:
            connection.terminate()
    except postgres.FAILED as error:
        return f"PostgreSQL cannot be used ({error})"
    return None if seen >= ours else f"the database is at migration {seen} of {ours}; run `ballotpress migrate`"


async def require_vault_keys(settings: Settings) -> None:
    """Check that we hold every key that the vault's keys are wrapped under. Raises VaultKeyMissing.

    Where PostgreSQL or the vault is away nothing can be checked, and `status` will tell.
    """
    try:
        connection = await postgres.connect(settings.database_url, "start", seconds=30)
        try:
            missing = await Vault(settings.vault_keys).missing(connection)
        finally:
            connection.terminate()
    except postgres.FAILED:
        return
    if missing:
        raise VaultKeyMissing(missing[0])
