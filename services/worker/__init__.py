"""The worker: what is due by the clock. Valkey is its clock and doorbell, never the truth; that is in PostgreSQL.

It retries a lost Valkey for some seconds and then ends with an error, for whoever supervises it to start it again.
"""

import asyncio
import os
import socket
from datetime import UTC
from typing import Any

import asyncpg
import msgspec
from arq import cron
from arq.connections import RedisSettings
from arq.worker import Worker
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from services.settings import Settings
from services.worker.receipts import clear_old_receipts

HEALTH_EVERY = 20
"""Seconds between two signs of life, under a key of this worker's own."""


def run(settings: Settings) -> None:
    """Work until stopped; raise what Valkey's client raised when it is lost for good."""
    asyncio.set_event_loop(asyncio.new_event_loop())  # arq takes the thread's
    create_worker(settings).run()


def create_worker(settings: Settings) -> Worker:
    """Return a worker that isn't running yet."""
    return Worker(
        cron_jobs=[cron(_clear_old_receipts, minute=7, run_at_startup=True)],
        redis_settings=_redis_settings(settings.redis_url),
        ctx={"database_url": settings.database_url},
        job_serializer=msgspec.msgpack.Encoder(enc_hook=repr).encode,
        job_deserializer=msgspec.msgpack.decode,
        health_check_key=f"ballotpress:worker:{socket.gethostname()}:{os.getpid()}",
        health_check_interval=HEALTH_EVERY,
        job_timeout=300,
        timezone=UTC,
    )


def _redis_settings(url: str) -> RedisSettings:
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 5
    settings.conn_retries = 10
    settings.retry = Retry(ExponentialBackoff(cap=2, base=0.1), retries=8)
    settings.retry_on_error = [ConnectionError, TimeoutError, BusyLoadingError, OSError]
    return settings


async def _clear_old_receipts(ctx: dict[str, Any]) -> int:
    connection = await asyncpg.connect(ctx["database_url"], timeout=10)
    try:
        return await clear_old_receipts(connection)
    finally:
        await connection.close()
