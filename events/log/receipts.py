"""Receipts of writes that came with an Idempotency-Key are kept for 24 hours; this forgets the older ones."""

from typing import Final

import asyncpg

AT_ONCE: Final = 10_000
"""Rows a statement, so that none holds locks or dead rows for long."""

CLEAR: Final = """
delete from log.idempotency where ctid = any(array(
    select ctid from log.idempotency where recorded_at < now() - interval '24 hours' order by recorded_at limit $1))
"""


async def clear_old_receipts(connection: asyncpg.Connection) -> int:
    """Delete receipts older than 24 hours; return how many they were."""
    cleared = 0
    while True:
        status = await connection.execute(CLEAR, AT_ONCE)
        deleted = int(status.rpartition(" ")[2])
        cleared += deleted
        if deleted < AT_ONCE:
            return cleared
