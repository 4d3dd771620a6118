"""The pulse of the site, for an operator's charts: what each of the last 60 minutes brought, how far each view is behind."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from asyncpg import Pool

from services.status.views import states

MINUTES: Final = 60

# Positions are dense, so a difference of two is a count.
READ_MINUTES: Final = """
select log.position_at(now() - make_interval(mins => m)) as position from generate_series($1::integer, 0, -1) m order by m desc
"""


class Lag(msgspec.Struct, frozen=True):
    """How many events a view is behind."""

    name: str
    lag: int


class Pulse(msgspec.Struct, frozen=True):
    """The head of the log, and how far each view is behind it."""

    head: int
    views: list[Lag]


async def pulse(pool: "Pool[Any]") -> Pulse:
    """Read the pulse now."""
    found = await states(pool)
    return Pulse(max((one.position + one.lag for one in found), default=0), [Lag(one.name, one.lag) for one in found])


async def throughput(pool: "Pool[Any]") -> Sequence[int]:
    """Count what was appended in each of the last 60 minutes, oldest first."""
    positions = [row["position"] for row in await pool.fetch(READ_MINUTES, MINUTES)]
    return [later - earlier for earlier, later in pairwise(positions)]
