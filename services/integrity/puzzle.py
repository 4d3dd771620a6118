"""Which tools' votes ask for a solved puzzle now: switched on by an operator or the detector, and off by themselves.

PostgreSQL keeps it for all processes. Each reads it once a second, so a vote needs no query.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from asyncpg import Connection, Pool

from events.log import postgres
from services.integrity.queue import JOINED

Database: TypeAlias = "Pool[Any] | Connection[Any]"

PACE_SECONDS: Final = 1.0

DETECTOR: Final = "detector"
"""Who has switched a puzzle on where no operator has."""

# For an hour from now, if the cohort's votes came within the last hour and it waits for an operator.
_SLOW_DOWN: Final = f"""
insert into integrity.puzzles as p (tool, until, switched_by)
select c.tool, now() + interval '1 hour', '{DETECTOR}'
from {JOINED} where c.id = $1 and c.ends > now() - interval '1 hour' and s.status in ('waiting', 'pending')
on conflict (tool) do update set until = excluded.until, switched_by = excluded.switched_by where p.until < excluded.until
"""  # noqa: S608 - made of constants
_READ: Final = "select tool, until, switched_by from integrity.puzzles where until > now() order by until, tool"


class Switched(msgspec.Struct, frozen=True):
    """A tool whose votes ask for a solved puzzle, until when, and who switched that on."""

    tool: str
    until: datetime
    by: str


async def slow_down(database: Database, cohort: str) -> None:
    """Have votes on a cohort's tool ask for a solved puzzle for an hour, if it is new and undecided; a later end stands."""
    await database.execute(_SLOW_DOWN, cohort)


async def read_switched(database: Database) -> Sequence[Switched]:
    """Return the tools whose votes ask for a solved puzzle now, the first to end first."""
    return [Switched(row["tool"], row["until"], row["switched_by"]) for row in await database.fetch(_READ)]


class Switches:
    """The tools whose votes ask for a solved puzzle, as one process knows them."""

    def __init__(self, pool: "Pool[Any]") -> None:
        self._pool = pool
        self._until: Mapping[str, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def until(self, tool: str) -> datetime | None:
        """Return until when votes on a tool ask for a solved puzzle; None if they don't."""
        return self._until.get(tool)

    async def read_on(self) -> None:
        """Read the switches anew."""
        self._until = {one.tool: one.until for one in await read_switched(self._pool)}

    async def run(self) -> None:
        """Read on, again and again, until cancelled; while PostgreSQL is away, what was known stays."""
        while True:
            try:
                await self.read_on()
            except postgres.FAILED as error:
                structlog.get_logger().debug("the puzzles' switches can't be read now", error=repr(error))
            await asyncio.sleep(PACE_SECONDS)
