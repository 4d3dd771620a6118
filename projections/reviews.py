"""Read reviews: a tool's public ones, and the moderators' queue. Texts and names are still sealed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection, Pool

from events.catalog import Verdict
from events.reviews import Status
from projections.registry import named


class PublicReview(msgspec.Struct, frozen=True):
    """A review's public revision; `position` is that of its approval."""

    review: str
    verdict: Verdict
    score: int | None
    sealed_text: str
    sealed_name: str | None
    published_at: datetime
    position: int


class QueuedReview(msgspec.Struct, frozen=True):
    """A review's current revision, with its tool by slug; `position` is that of its submission."""

    review: str
    tool: str
    verdict: Verdict
    score: int | None
    sealed_text: str
    sealed_name: str | None
    revision: int
    status: Status
    submitted_at: datetime
    position: int


PUBLIC = named("""
select review, public_verdict as verdict, public_score as score, public_sealed_text as sealed_text,
       public_sealed_name as sealed_name, published_at, public_position as position
from {reviews}.reviews
where public_revision is not null
""")

PUBLIC_BY_TOOL = "and tool = $1 and ($2::bigint is null or public_position < $2) order by public_position desc limit $3"

QUEUE = named("""
select r.review, t.slug as tool, r.verdict, r.score, r.sealed_text, r.sealed_name, r.revision, r.status, r.submitted_at,
       r.submitted_position as position
from {reviews}.reviews r
join {cards}.tools t on t.tool = r.tool
where r.status = $1 and ($2::bigint is null or r.submitted_position > $2)
order by r.submitted_position
limit $3
""")


COUNT_WAITING = named("select count(*) from {reviews}.reviews where status = 'pending'")


async def count_waiting(pool: "Pool[Any]") -> int:
    """Return how many reviews wait for a moderator."""
    return int(await pool.fetchval(COUNT_WAITING))


async def public(pool: "Pool[Any]", tool: str, before: int | None, limit: int) -> Sequence[PublicReview]:
    """Return up to `limit` of a tool's public reviews, newest first, approved before a position."""
    return [PublicReview(**row) for row in await pool.fetch(PUBLIC + PUBLIC_BY_TOOL, tool, before, limit)]


async def read_public(database: "Pool[Any] | Connection[Any]", review: str) -> PublicReview | None:
    """Return the public revision of a review, by its id; None if it has none."""
    row = await database.fetchrow(PUBLIC + "and review = $1", review)
    return None if row is None else PublicReview(**row)


async def queue(pool: "Pool[Any]", status: Status, after: int | None, limit: int) -> Sequence[QueuedReview]:
    """Return up to `limit` reviews of a status, oldest first, submitted after a position."""
    return [QueuedReview(**row) for row in await pool.fetch(QUEUE, status, after, limit)]
