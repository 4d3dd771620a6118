"""The doorbell: an arq job that wakes a worker's sender. It may get lost, because the sender looks by itself too."""

import logging
from typing import Final

import msgspec
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

DOORBELL: Final = "something_to_send"
"""The job's name, and its id: a second ring is dropped while the first still waits in the queue."""

logger = logging.getLogger(__name__)


async def ring(valkey: Redis) -> None:
    """Queue the doorbell; without Valkey, only log that it is out."""
    arq = ArqRedis(
        pool_or_conn=valkey.connection_pool,
        job_serializer=msgspec.msgpack.Encoder(enc_hook=repr).encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    try:
        await arq.enqueue_job(DOORBELL, _job_id=DOORBELL, _expires=60)
    except (RedisError, OSError) as error:
        logger.info("the doorbell is out: %r", error)
