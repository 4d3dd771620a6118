"""Network marks: which votes of a day came from one network, in 16 bits that lead back to none of the networks they may be.

A mark is the beginning of an HMAC-SHA256 of the voter's /24 or /64, under a key that all processes share for one day. Key and
marks stand beside the log, in no export. A key is destroyed with its day, the marks after fourteen days. A vote never waits for
its mark, and a mark that can't be written is lost.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import structlog
from asyncpg import Connection, Pool

from events.log import postgres

Database: TypeAlias = "Pool[Any] | Connection[Any]"
MarksOf: TypeAlias = Callable[["Connection[Any]", Sequence[int]], Awaitable[Mapping[int, int]]]
"""Returns the marks of the networks that votes came from, by the votes' positions; none for those that have none."""

DAYS: Final = 14
PACE_SECONDS: Final = 0.5
MOST_WAITING: Final = 50_000

_KEY: Final = "select day, key from integrity.network_key where day = (now() at time zone 'UTC')::date"
_MAKE_KEY: Final = "select day, key from integrity.make_network_key($1)"
_FORGET: Final = "select integrity.forget_marks($1)"
_READ: Final = """
select m.position, m.day - date '2000-01-01' as day, m.bucket
from integrity.network_marks m where m.position = any($1::bigint[])
"""


async def marks_of(connection: Database, positions: Sequence[int]) -> Mapping[int, int]:
    """Return the marks of votes by their positions: equal for votes of one day and, most likely, one network.

    The higher bits are the day, the lower sixteen the network's. A vote that wasn't marked, or long ago, is left out.
    """
    return {row["position"]: row["day"] << 16 | row["bucket"] for row in await connection.fetch(_READ, positions)}


async def unmarked(connection: Database, positions: Sequence[int]) -> Mapping[int, int]:
    """Return no marks: of a site that keeps none."""
    return {}


async def forget_marks(connection: Database, days: int = DAYS) -> int:
    """Destroy the marks of so many days ago and earlier, and the key of a day that is over; of no days, all of them.

    Return how many tables were emptied.
    """
    emptied: int = await connection.fetchval(_FORGET, days)
    return emptied


class Marks:
    """The marks that one process has still to write; none where the site keeps none."""

    def __init__(self, pool: "Pool[Any]", *, are_kept: bool) -> None:
        self._pool = pool
        self._most = MOST_WAITING if are_kept else 0
        self._waiting: list[tuple[int, str]] = []

    def note(self, position: int, network: str) -> None:
        """Note the network that the vote at a position came from."""
        if len(self._waiting) < self._most:
            self._waiting.append((position, network))

    async def run(self) -> None:
        """Write what was noted, twice a second, until cancelled."""
        while True:
            await asyncio.sleep(PACE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted; if PostgreSQL can't take it now, it is lost."""
        noted, self._waiting = self._waiting, []
        if not noted:
            return
        try:
            async with self._pool.acquire() as connection:
                row: Any = await connection.fetchrow(_KEY) or await connection.fetchrow(_MAKE_KEY, DAYS)
                day, key = row
                buckets = {network: _bucket(key, network) for network in {network for _, network in noted}}
                marks = [(position, day, buckets[network]) for position, network in noted]
                await connection.copy_records_to_table(
                    "network_marks", schema_name="integrity", columns=("position", "day", "bucket"), records=marks
                )
        except postgres.FAILED as error:
            structlog.get_logger().warning("marks of networks are lost", votes=len(noted), error=repr(error))


def _bucket(key: bytes, network: str) -> int:
    return int.from_bytes(hmac.digest(key, network.encode(), "sha256")[:2], "big")
