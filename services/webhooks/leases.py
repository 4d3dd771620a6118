"""Leases: one process delivers a subscription at a time, and moves its cursor for as long as it has the lease.

A delivery begins under a lease that outlasts it. Whoever lost a lease finds that out at the next statement, and stops.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from asyncpg import Pool

from services.webhooks.messages import Kind

SECONDS: Final = 30.0
"""The length of a lease, which is more than a delivery may take."""

# A log that went back without its webhooks gives the positions out again that they were told, and may have passed them since.
GO_BACK: Final = """
update webhooks.subscriptions s
set position = least(s.position, h.position, log.position_at(s.seen_at), s.seen_position - 1), part = 0,
    seen_position = 0, seen_at = null, seen_stream = null, lease = null, leased_until = null
from log.head h where not log.holds(s.seen_position, s.seen_at, s.seen_stream)
"""
BEYOND: Final = """
update webhooks.subscriptions s set position = h.position, part = 0, lease = null, leased_until = null
from log.head h where s.position > h.position
"""
BEHIND: Final = """
select exists (select from webhooks.subscriptions s
               where s.is_on and s.not_before <= now() and s.position < (select h.position from log.head h))
"""
CLAIM: Final = """
update webhooks.subscriptions set lease = $1, leased_until = now() + make_interval(secs => $2)
where id = any(array(
    select id from webhooks.subscriptions
    where is_on and not_before <= now() and (lease is null or leased_until < now()) and position < $3 and id <> all($4::text[])
    order by id for update skip locked))
returning id
"""
HOLD: Final = """
update webhooks.subscriptions set leased_until = now() + make_interval(secs => $3)
where id = $1 and lease = $2 and is_on returning id, url, kinds, position, part, failures
"""
TOLD: Final = """
with seen as (select e.recorded_at as at, e.stream from log.head h left join lateral log.at_position($3) e on true)
update webhooks.subscriptions
set position = $3, part = $4, failures = 0, failed = null, failed_at = null, delivered_at = now(),
    seen_position = case when s.at is null then 0 else $3 end, seen_at = s.at, seen_stream = s.stream
from seen s where id = $1 and lease = $2
"""
ADVANCE: Final = """
with seen as (select e.recorded_at as at, e.stream from log.head h left join lateral log.at_position($3) e on true)
update webhooks.subscriptions
set position = $3, part = 0, seen_position = case when s.at is null then 0 else $3 end, seen_at = s.at, seen_stream = s.stream
from seen s where id = $1 and lease = $2
"""
FAIL: Final = """
update webhooks.subscriptions
set failures = failures + 1, failed = $3, failed_at = now(), not_before = now() + make_interval(secs => $4),
    is_on = is_on and $5::text is null, lease = null, leased_until = null,
    off_reason = case when is_on then $5 else off_reason end,
    off_at = case when is_on and $5 is not null then now() else off_at end
where id = $1 and lease = $2
"""
RELEASE: Final = "update webhooks.subscriptions set lease = null, leased_until = null where id = $1 and lease = $2"


class Claimed(msgspec.Struct, frozen=True):
    """A subscription that is ours to deliver for a while: its address, and its cursor."""

    id: str
    url: str
    kinds: Sequence[Kind]
    position: int
    part: int
    failures: int


class Leases:
    """The leases of one process, which `name` tells from all others."""

    def __init__(self, database: "Pool[Any]", name: str, seconds: float = SECONDS) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds

    async def go_back(self) -> None:
        """Take the cursors back that have seen what the log doesn't hold any more, or are beyond its head."""
        await self._database.execute(GO_BACK)
        await self._database.execute(BEYOND)

    async def any_behind(self) -> bool:
        """Return whether a subscription that may be delivered now is behind the log."""
        return bool(await self._database.fetchval(BEHIND))

    async def claim(self, closed: int, busy: Iterable[str]) -> list[str]:
        """Return the subscriptions that are behind a position and aren't busy here, now ours."""
        rows = await self._database.fetch(CLAIM, self._name, self._seconds, closed, list(busy))
        return [row["id"] for row in rows]

    async def hold(self, id_: str) -> Claimed | None:
        """Return a subscription if it is on and still ours, then for a whole lease from now."""
        row = await self._database.fetchrow(HOLD, id_, self._name, self._seconds)
        return None if row is None else Claimed(**row)

    async def told(self, id_: str, position: int, part: int) -> None:
        """Record that a message was taken, and put the cursor behind it."""
        await self._database.execute(TOLD, id_, self._name, position, part)

    async def advance(self, id_: str, position: int) -> None:
        """Put the cursor at a position up to which there is nothing more to tell."""
        await self._database.execute(ADVANCE, id_, self._name, position)

    async def fail(self, id_: str, why: str, delay: float, off_reason: str | None) -> None:
        """Record a failure, and give the lease back: the next attempt is after a delay, or never if the webhook goes off."""
        await self._database.execute(FAIL, id_, self._name, why, delay, off_reason)

    async def release(self, id_: str) -> None:
        """Give a lease back."""
        await self._database.execute(RELEASE, id_, self._name)
