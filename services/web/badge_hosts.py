"""Which sites show badges: counts by day and by the host that a request names as its referrer, and nothing else of it.

Anybody can name any host, so a day has a limited number of them; what comes later, what is no public name and addresses are
`other`. A badge never waits for its count, and a count that can't be written is lost. Caches answer for us, so it is a floor.
"""

import asyncio
import re
from collections import Counter
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog
from asyncpg import Pool

from events.log import postgres

MOST_HOSTS: Final = 200
"""Of a day, and of those that wait to be written."""
DAYS: Final = 90
PACE_SECONDS: Final = 1.0
OTHER: Final = "other"
UNKNOWN: Final = "unknown"
"""The host of a request that names no referrer."""
_NAME: Final = re.compile(r"(?=.{1,100}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_MOST_BYTES: Final = 2_000

# New hosts take the places that the day has left, those shown most often first.
WRITE: Final = """
with today as (select (now() at time zone 'UTC')::date as day),
noted as (
    select n.host, n.shown,
           exists (select from status.badge_hosts b, today where b.day = today.day and b.host = n.host) as known
    from unnest($1::text[], $2::bigint[]) as n(host, shown)
),
placed as (
    select host, shown, known, row_number() over (partition by known order by shown desc, host) as place from noted
)
insert into status.badge_hosts (day, host, shown)
select today.day, named.host, sum(named.shown)
from today
cross join lateral (
    select case when p.known or p.place <= $3 - (select count(*) from status.badge_hosts b where b.day = today.day)
                then p.host else 'other' end as host, p.shown
    from placed p
) named
group by today.day, named.host
on conflict (day, host) do update set shown = badge_hosts.shown + excluded.shown
"""
FORGET: Final = "delete from status.badge_hosts where day <= (now() at time zone 'UTC')::date - $1::integer"
READ: Final = """
select host, sum(shown)::bigint as shown
from status.badge_hosts
where day > (now() at time zone 'UTC')::date - $1::integer
group by host order by sum(shown) desc, host limit $2
"""


class BadgeHost(msgspec.Struct, frozen=True):
    """A host, and how often badges were asked for from its pages."""

    host: str
    shown: int


def host_of(referrer: bytes | None) -> str:
    """Return the host that a Referer header names, if it is a public name."""
    if referrer is None:
        return UNKNOWN
    try:
        name = urlsplit(referrer[:_MOST_BYTES].decode("ascii")).hostname or ""
    except ValueError:
        return OTHER
    return name if _NAME.fullmatch(name) else OTHER


async def read_hosts(pool: "Pool[Any]", days: int, most: int) -> list[BadgeHost]:
    """Return the hosts of so many days up to today, those that show badges most often first."""
    return [BadgeHost(**row) for row in await pool.fetch(READ, days, most)]


class BadgeHosts:
    """The counts that one process has still to write."""

    def __init__(self, pool: "Pool[Any]") -> None:
        self._pool = pool
        self._noted: Counter[str] = Counter()

    def note(self, referrer: bytes | None) -> None:
        """Count a badge that a page with this Referer header shows."""
        host = host_of(referrer)
        self._noted[host if host in self._noted or len(self._noted) < MOST_HOSTS else OTHER] += 1

    async def run(self) -> None:
        """Write what was noted, once a second, until cancelled."""
        while True:
            await asyncio.sleep(PACE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what was noted; if PostgreSQL can't take it now, it is lost."""
        noted, self._noted = self._noted, Counter()
        if not noted:
            return
        try:
            await self._pool.execute(WRITE, list(noted), list(noted.values()), MOST_HOSTS)
            await self._pool.execute(FORGET, DAYS)
        except postgres.FAILED as error:
            structlog.get_logger().warning("counts of badges are lost", shown=noted.total(), error=repr(error))
