"""The worker: what it clears, and when."""

from typing import Any

import pytest
from asyncpg import Connection

from events.log import store


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
