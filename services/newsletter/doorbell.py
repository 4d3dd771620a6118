"""The doorbell: an arq job that wakes a worker's sender. It may get lost, because the sender looks by itself too."""

import asyncio
import logging
from typing import Final

from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.valkey import JOBS

DOORBELL: Final = "something_to_send"
"""The job's name, and its id: a second ring is dropped while the first still waits in the queue."""

PATIENCE_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


async def ring(valkey: Redis) -> None:
    """Queue the doorbell; without Valkey, only log that it is out."""
    arq = ArqRedis(valkey.connection_pool, **JOBS)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):  # Valkey may hang; the mail is planned, so nobody need wait for it
            await arq.enqueue_job(DOORBELL, _job_id=DOORBELL, _expires=60)
    except (RedisError, OSError) as error:
        logger.info("the doorbell is out: %r", error)
