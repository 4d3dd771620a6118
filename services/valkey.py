"""Valkey: the one place that connects to it, so that every process reads REDIS_URL alike."""

from typing import Any, Final

import msgspec
from arq import ArqRedis
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

CONNECT_SECONDS: Final = 1.0
PATIENT_SECONDS: Final = 5.0

JOBS: Final[dict[str, Any]] = {
    "job_serializer": msgspec.msgpack.Encoder(enc_hook=repr).encode,
    "job_deserializer": msgspec.msgpack.decode,
}
"""How arq's jobs are written: never as pickles, which run what they hold."""


def client(url: str, **options: Any) -> Redis:
    """Return a client that gives up soon; `options` are redis-py's. It connects when it is first used."""
    made: Redis = Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, **options)
    return made


def queue(url: str) -> ArqRedis:
    """Return arq's client, which tries again for some seconds. It connects when it is first used.

    arq's own reader of URLs neither unescapes a password nor reads the query.
    """
    pool = ConnectionPool.from_url(
        url,
        socket_connect_timeout=PATIENT_SECONDS,
        retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries=8),
        retry_on_error=[ConnectionError, TimeoutError, BusyLoadingError, OSError],
    )
    return ArqRedis(pool, **JOBS)
