"""Sign-ins that failed, counted by the hour. Those that came about are acts, which the statements of `sessions` note."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from asyncpg import Connection, Pool

Database: TypeAlias = "Pool[Any] | Connection[Any]"
Failure = Literal["token", "oidc"]

NOTE_FAILED: Final = """
insert into operators.failed_sign_ins as f (hour, how, why, failed) values (date_trunc('hour', now()), $1, $2, 1)
on conflict (hour, how, why) do update set failed = f.failed + 1
"""
READ_FAILED: Final = """
select how, why, sum(failed)::bigint as failed, max(hour) as last_hour from operators.failed_sign_ins
where hour > now() - $1::integer * interval '1 day' group by how, why order by failed desc, how, why
"""


class Failed(msgspec.Struct, frozen=True):
    """How many sign-ins of a sort failed for a reason, and the last hour in which one did."""

    how: Failure
    why: str
    failed: int
    last_hour: datetime


async def note_failed(database: Database, how: Failure, why: str) -> None:
    """Count a sign-in that failed; `why` is one of few words."""
    await database.execute(NOTE_FAILED, how, why)


async def read_failed(database: Database, days: int) -> Sequence[Failed]:
    """Return how many sign-ins failed in some days, the most frequent reason first."""
    return [Failed(**row) for row in await database.fetch(READ_FAILED, days)]
