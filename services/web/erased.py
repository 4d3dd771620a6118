"""Visitors who were erased: their tokens may read and take back, and write nothing any more.

The log names them, and they are few, so a process keeps them in memory and a vote needs no query. Each process reads on about
once a second; the one that took the erasure knows at once. The commands themselves refuse texts and bookmarks that come in
between; a vote of that second stays counted.
"""

import asyncio
from typing import Any, Final

import structlog
from asyncpg import Pool

from events.erasure import VisitorIsErased
from events.log import postgres

PACE_SECONDS: Final = 1.0

# No erasure up to a position is missed: positions are dense, in the order of commits. A log that went back since ($2) gives
# positions out again, so all is read anew; an erasure that it lost stands here on, and the worker erases again.
READ_ERASED: Final = """
select h.position, r.rewinds, coalesce(array_agg(e.data->>'person') filter (where e.type = 'PersonErased'), '{}') as persons
from log.whole() h
cross join (select count(*) as rewinds from log.rewinds) r
left join lateral log.taken(case when r.rewinds = $2 then $1::bigint else 0 end, h.position, '{}', '{PersonErased}') e on true
group by h.position, r.rewinds
"""


class ErasedVisitors:
    """The erased visitors, as one process knows them."""

    def __init__(self, pool: "Pool[Any]") -> None:
        self._pool = pool
        self._position = 0
        self._rewinds = 0
        self._known: set[str] = set()

    def __contains__(self, visitor: object) -> bool:
        return visitor in self._known

    def add(self, visitor: str) -> None:
        """Note an erasure that this process has just committed."""
        self._known.add(visitor)

    def refuse(self, visitor: str) -> None:
        """Raise VisitorIsErased for an erased visitor."""
        if visitor in self._known:
            raise VisitorIsErased(visitor)

    async def read_on(self) -> None:
        """Read the erasures that came since the last time."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(postgres.PLAN_ANEW)  # what is passed over once is never heard of
            (row,) = await connection.fetch(READ_ERASED, self._position, self._rewinds)
        self._known.update(row["persons"])
        self._position, self._rewinds = row["position"], row["rewinds"]

    async def run(self) -> None:
        """Read on, again and again, until cancelled."""
        while True:
            try:
                await self.read_on()
            except postgres.FAILED as error:
                structlog.get_logger().debug("erasures can't be read now", error=repr(error))
            await asyncio.sleep(PACE_SECONDS)
