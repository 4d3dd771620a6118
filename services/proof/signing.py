"""The signer of a site, and who asks its witnesses, as the settings describe them; the views wake it, and it rings the API."""

import asyncio
import logging

from events.log import postgres
from projections.engine import notify
from services.proof.memory import Memory
from services.proof.policy import policy_at
from services.proof.published import CHANNEL
from services.proof.signer import Keys, Signing
from services.proof.witness import PATIENCE, Witnessing
from services.settings import Settings

logger = logging.getLogger(__name__)


def memory_of(settings: Settings) -> Memory:
    """Return the second memory of a site's signer."""
    return Memory(settings.public_log.checkpoint_file or settings.home / "checkpoint")


async def sign_log(settings: Settings) -> None:
    """Sign the public log, and have it cosigned, until cancelled. Raises PolicyMalformed."""
    dsn, ours = settings.database_url, settings.public_log
    bell, policy = notify.Bell(dsn, CHANNEL), policy_at(ours.witness_policy)
    witnessing = Witnessing(dsn, policy)

    async def ask_first() -> None:
        """Ask the witnesses how far they are: a database that went back must not be signed before they can say so."""
        try:
            async with asyncio.timeout(PATIENCE):
                await witnessing.ask_all(anew=True)
        except postgres.FAILED as error:  # a silent witness keeps nobody waiting
            logger.warning("not all witnesses could be asked: %r", error)

    signing = Signing(
        dsn,
        Keys(ours.log_keys),
        settings.base_url,
        memory_of(settings),
        policy=policy,
        delay=ours.sign_after_seconds,
        before=ask_first,
        on_publish=bell.ring,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bell.run())
        tasks.create_task(notify.listen(dsn, notify.VIEWS, signing.wake.set))
        tasks.create_task(signing.run())
        tasks.create_task(witnessing.run())
