"""The doorbell: an arq job that says "there is something to send". It may get lost; the worker looks by itself too."""

import logging
from typing import Final

import msgspec
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

JOB: Final = "something_to_send"

logger = logging.getLogger(__name__)


async def ring(valkey: Redis) -> None:
    """Ring; without Valkey, nothing happens but a line in the log."""
    arq = ArqRedis(
        pool_or_conn=valkey.connection_pool,
        job_serializer=msgspec.msgpack.Encoder(enc_hook=repr).encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    try:
        # One ring in the queue says it all: another under the same id is dropped while that one waits.
        await arq.enqueue_job(JOB, _job_id=JOB, _expires=60)
    except (RedisError, OSError) as error:
        logger.info("the doorbell is out: %r", error)
