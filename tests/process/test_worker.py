"""The worker: what it clears, and when; and how it ends."""

import asyncio
from typing import Any

import pytest
from asyncpg import Connection

from events.log import store
from services.newsletter.mailroom import Mailroom
from services.person.notes import Notes
from services.webhooks.desk import Desk
from services.worker import create_worker
from tests.support.settings import settings


async def test_receipts_are_kept_for_a_day(connection: "Connection[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    """A receipt of a write is forgotten after 24 hours and not before, however many statements that takes."""
    monkeypatch.setattr(store, "CLEARED_AT_ONCE", 10)
    await connection.execute(
        """
        insert into log.idempotency (scope, key, fingerprint, receipt, recorded_at)
        select 'visitor', n::text, '', '{}', now() - make_interval(mins => 24 * 60 + case when n <= 25 then 1 else -1 end)
        from generate_series(1, 30) n
        """
    )
    assert await store.clear_old_receipts(connection) == 25
    assert (
        await connection.fetchval("select count(*) from log.idempotency where recorded_at < now() - interval '24 hours'") == 0
    )
    assert await connection.fetchval("select count(*) from log.idempotency") == 5
    assert await store.clear_old_receipts(connection) == 0


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # arq closes Valkey's client so
async def test_a_job_that_is_stopped_before_it_begins_is_no_error(dsn: str, valkey_url: str) -> None:
    """A signal may come in the moment between a job's being taken and its beginning: the worker ends all the same."""
    given = settings(dsn, valkey_url)
    worker = create_worker(given, Mailroom(given), Desk(given), Notes(given))
    worker.tasks["taken"] = asyncio.create_task(asyncio.sleep(3600))
    worker.tasks["taken"].cancel()
    await worker.close()
    assert not worker.tasks
