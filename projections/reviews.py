"""Read reviews: a tool's public ones, the moderators' queue, and what was done. Texts, names and words are still sealed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from events.catalog import Verdict
from events.log.reads import Reads
from events.reviews import Ground, Status, Ties
from projections.registry import named


class PublicReview(msgspec.Struct, frozen=True):
    """A review's public revision, with its tool's id; `position` is that of its approval."""

    review: str
    verdict: Verdict
    score: int | None
    sealed_text: str
    sealed_name: str | None
    ties: Ties | None
    published_at: datetime
    position: int
    tool: str


class QueuedReview(msgspec.Struct, frozen=True):
    """A revision of a review, with its tool by slug.

    In the queue of a status it is the current one, and `position` that of the review's submission; in that of reports it is the
    public one, and `position` that of its first report.
    """

    review: str
    tool: str
    verdict: Verdict
    score: int | None
    sealed_text: str
    sealed_name: str | None
    ties: Ties | None
    revision: int
    status: Status
    submitted_at: datetime
    position: int


_TIES: Mapping[Ties | None, str] = {
    None: "Ties not disclosed",
    "none": "No ties, says the author",
    "given": "Was given something for it",
    "works_there": "Works there",
    "related": "Has another tie to it",
}


def ties_line(ties: Ties | None) -> str:
    """Write what an author told of ties to the tool."""
    return _TIES[ties]


PUBLIC = named("""
select review, public_verdict as verdict, public_score as score, public_sealed_text as sealed_text,
       public_sealed_name as sealed_name, public_ties as ties, published_at, public_position as position, tool
from {reviews}.reviews
where public_revision is not null
""")

PUBLIC_BY_TOOL = "and tool = $1 and ($2::bigint is null or public_position < $2) order by public_position desc limit $3"

QUEUE = named("""
select r.review, t.slug as tool, r.verdict, r.score, r.sealed_text, r.sealed_name, r.ties, r.revision, r.status, r.submitted_at,
       r.submitted_position as position
from {reviews}.reviews r
join {cards}.tools t on t.tool = r.tool
where r.status = $1 and ($2::bigint is null or r.submitted_position > $2)
order by r.submitted_position
limit $3
""")

# Oldest report first. A review that is not public any more has no report that waits.
REPORTED = named("""
select r.review, t.slug as tool, r.public_verdict as verdict, r.public_score as score, r.public_sealed_text as sealed_text,
       r.public_sealed_name as sealed_name, r.public_ties as ties, r.public_revision as revision, r.status, r.submitted_at,
       p.position
from (select review, min(position) as position from {reviews}.reports group by review) p
join {reviews}.reviews r on r.review = p.review and r.public_revision is not null
join {cards}.tools t on t.tool = r.tool
where $1::bigint is null or p.position > $1
order by p.position
limit $2
""")

REPORTS = named("""
select c.review, c.reports, c.through, c.grounds::text as grounds, l.report, l.ground, l.sealed_words, l.reported_at
from (
    select g.review, sum(g.reports)::bigint as reports, max(g.through) as through,
           jsonb_object_agg(g.ground, g.reports) as grounds
    from (
        select review, ground, count(*) as reports, max(position) as through
        from {reviews}.reports where review = any($1::text[]) group by review, ground
    ) g
    group by g.review
) c
cross join lateral (select * from {reviews}.reports r where r.review = c.review order by r.position desc limit $2) l
order by c.review, l.position desc
""")

COUNT_WAITING = named("""
select (select count(*) from {reviews}.reviews where status = 'pending')
     + (select count(distinct p.review) from {reviews}.reports p
        join {reviews}.reviews r on r.review = p.review and r.public_revision is not null)
""")

ACTS = named("select act, ground, acts from {reviews}.acts order by act, acts desc, ground")


class Report(msgspec.Struct, frozen=True):
    """A report that waits for a moderator."""

    report: str
    ground: Ground
    sealed_words: str | None
    reported_at: datetime


class Reports(msgspec.Struct, frozen=True):
    """The reports of a review that wait for a moderator: how many, by ground, up to which position, and the latest ones."""

    count: int
    grounds: dict[Ground, int]
    through: int
    latest: list[Report]


class Acts(msgspec.Struct, frozen=True):
    """What readers and moderators did with reviews: how often, and by ground.

    A refused review was never shown; a removed one was.
    """

    approved: int
    kept: int
    reported: dict[Ground, int]
    refused: dict[Ground, int]
    removed: dict[Ground, int]


_grounds = msgspec.json.Decoder(dict[Ground, int])


async def count_waiting(pool: Reads) -> int:
    """Return how many reviews wait for a moderator, because they are new, edited or reported."""
    return int(await pool.fetchval(COUNT_WAITING))


async def acts(pool: Reads) -> Acts:
    """Return what was ever done with reviews."""
    found: dict[str, dict[Any, int]] = {}
    for row in await pool.fetch(ACTS):
        found.setdefault(row["act"], {})[row["ground"]] = row["acts"]
    approved, kept = (found.get(act, {}).get("", 0) for act in ("approved", "kept"))
    return Acts(approved, kept, *(found.get(act, {}) for act in ("reported", "rejected", "removed")))


async def public(pool: Reads, tool: str, before: int | None, limit: int) -> Sequence[PublicReview]:
    """Return up to `limit` of a tool's public reviews, newest first, approved before a position."""
    return [PublicReview(**row) for row in await pool.fetch(PUBLIC + PUBLIC_BY_TOOL, tool, before, limit)]


async def read_public(database: Reads, review: str) -> PublicReview | None:
    """Return the public revision of a review, by its id; None if it has none."""
    row = await database.fetchrow(PUBLIC + "and review = $1", review)
    return None if row is None else PublicReview(**row)


async def queue(pool: Reads, status: Status, after: int | None, limit: int) -> Sequence[QueuedReview]:
    """Return up to `limit` reviews of a status, oldest first, submitted after a position."""
    return [QueuedReview(**row) for row in await pool.fetch(QUEUE, status, after, limit)]


async def reported(pool: Reads, after: int | None, limit: int) -> Sequence[QueuedReview]:
    """Return up to `limit` public reviews with reports that wait, whose first report came after a position, oldest first."""
    return [QueuedReview(**row) for row in await pool.fetch(REPORTED, after, limit)]


async def reports(pool: Reads, reviews: Sequence[str], latest: int) -> dict[str, Reports]:
    """Return the reports that wait of each of these reviews that has any, with up to so many of the latest."""
    found: dict[str, Reports] = {}
    for row in await pool.fetch(REPORTS, reviews, latest):
        new = Reports(row["reports"], _grounds.decode(row["grounds"]), row["through"], [])
        one = Report(row["report"], row["ground"], row["sealed_words"], row["reported_at"])
        found.setdefault(row["review"], new).latest.append(one)
    return found
