"""How the purges stand, for operators: in `status` and in the metrics."""

from typing import Any, Final, TypeAlias

import msgspec
from asyncpg import Connection, Pool

Database: TypeAlias = "Pool[Any] | Connection[Any]"

SINCE: Final = 37
"""The migration from which on there is a row to read."""
MANY: Final = 3
"""Failures in a row that an operator should hear of."""

# A failure of long ago is of a hook that isn't called any more: while it is, calls are tried every five minutes at least.
_READ: Final = """
select position, extract(epoch from now() - purged_at)::float8 as silent_seconds,
       case when failed_at > now() - interval '15 minutes' then failures else 0 end as failures, failed
from purge.progress
"""


class Progress(msgspec.Struct, frozen=True):
    """Up to which position caches were told what to forget (null: never), how many calls failed in a row, and why the last."""

    position: int | None
    silent_seconds: float | None
    failures: int
    failed: str | None


async def read_progress(database: Database) -> Progress:
    """Return how the purges stand."""
    row = await database.fetchrow(_READ)
    assert row is not None  # noqa: S101 - the table has one row
    return Progress(**row)


def said_failing(progress: Progress | None) -> str | None:
    """Return what is wrong with the purges; None if nothing is."""
    if progress is None or progress.failures < MANY:
        return None
    return f"caches can't be told what to forget, {progress.failures} times in a row: {progress.failed}"
