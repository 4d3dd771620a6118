"""Read subscribers: their status, those that never confirmed, and the bookmarks that they joined."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asyncpg import Connection, Pool

from projections.registry import named

STATUS = named("select status from {subscribers}.subscribers where subscriber = $1")

UNCONFIRMED = named("""
select subscriber from {subscribers}.subscribers
where status = 'pending' and round = 0 and suppressed is null and requested_at < $1 order by requested_at limit $2
""")

BOOKMARKS = named("""
select v.subscriber, array_agg(distinct b.tool) as tools
from {subscribers}.visitors v join {bookmarks}.bookmarks b on b.visitor = v.visitor
where v.subscriber = any($1::text[]) and b.tool = any($2::text[])
group by v.subscriber
""")


async def read_status(database: "Pool[Any] | Connection[Any]", subscriber: str) -> str | None:
    """Return the subscriber's status, such as "confirmed"; None for an unknown or erased subscriber."""
    status: str | None = await database.fetchval(STATUS, subscriber)
    return status


async def read_unconfirmed(database: "Pool[Any] | Connection[Any]", before: datetime, limit: int = 500) -> list[str]:
    """Return up to `limit` subscribers who never confirmed and last asked before a time, the longest waiting first."""
    return [row["subscriber"] for row in await database.fetch(UNCONFIRMED, before, limit)]


async def read_bookmarks(
    database: "Pool[Any] | Connection[Any]", subscribers: Sequence[str], tools: Sequence[str]
) -> dict[str, set[str]]:
    """Return which of these tools' ids each of these subscribers bookmarked; subscribers without any are left out."""
    return {row["subscriber"]: set(row["tools"]) for row in await database.fetch(BOOKMARKS, subscribers, tools)}
