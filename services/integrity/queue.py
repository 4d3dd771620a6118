"""The queue of suspected cohorts, by their effect: what was found, and what was decided about it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from asyncpg import Record

from events.integrity import Status
from projections.registry import named
from services.integrity.cohorts import COLUMNS, Cohort, Database, decoded

Filter = Literal["waiting", "voided", "dismissed", "watched"]
FILTERS: Final[Mapping[Filter, tuple[Status, ...]]] = {
    "waiting": ("waiting", "pending", "undoing"),
    "voided": ("voiding", "voided"),
    "dismissed": ("dismissed",),
    "watched": ("watched",),
}

# The rule `events.integrity.status`: a cohort with votes that the last decision was not about waits again.
JOINED: Final = named("""
integrity.cohorts c
left join {integrity}.decisions d on d.cohort = c.id
cross join lateral (
    select case when d.status in ('pending', 'voided', 'dismissed', 'watched')
                     and (c.first_position < d.first_position or c.last_position > d.last_position) then 'waiting'
                else coalesce(d.status, 'waiting') end as status
) s
""")
_READ: Final = named(
    f"""
select {COLUMNS}, s.status, c.revision + coalesce(d.version, 0) as seen, t.slug, d.reason, d.by, d.voters,
       d.decided_at, coalesce(r.voters, 0) as corrected
from {JOINED}
left join {{cards}}.tools t on t.tool = c.tool
left join {{corrections}}.corrections r on r.correction = d.correction
"""  # noqa: S608 - made of constants
)
_LIST: Final = (
    _READ
    + """
where s.status = any($1::text[]) and ($2::float8 is null or c.effect < $2 or (c.effect = $2 and c.id > $3))
order by c.effect desc, c.id
limit $4
"""
)
_ONE: Final = _READ + "where c.id = $1"
_COUNT: Final = (
    f"select s.status, count(*) as cohorts, count(*) filter (where c.unsettles) as unsettling from {JOINED} group by 1"  # noqa: S608
)


class Place(msgspec.Struct, frozen=True):
    """A cohort's place in the queue."""

    effect: float
    id: str


class Queued(msgspec.Struct, frozen=True):
    """A cohort with its status and its tool's slug; `revision` grows with every change of it and every decision.

    The others are of the last decision: its reason, its operator, and for a void or an undo its voters and how many of them
    are corrected.
    """

    cohort: Cohort
    slug: str
    status: Status
    revision: int
    reason: str | None
    by: str | None
    voters: int | None
    corrected: int
    decided_at: datetime | None


class Waiting(msgspec.Struct, frozen=True):
    """How many cohorts have each status, and how many of those would change a settled verdict."""

    cohorts: Mapping[Status, int]
    unsettling: Mapping[Status, int]

    @property
    def open(self) -> int:
        """The number of cohorts that wait for an operator."""
        return self.cohorts.get("waiting", 0) + self.cohorts.get("pending", 0)


async def queue(database: Database, statuses: Sequence[Status], after: Place | None, limit: int) -> Sequence[Queued]:
    """Return up to `limit` cohorts with one of these statuses, the largest effect first, after a place."""
    place = (None, None) if after is None else (after.effect, after.id)
    return [_queued(row) for row in await database.fetch(_LIST, statuses, *place, limit)]


async def read(database: Database, id_: str) -> Queued | None:
    """Return a cohort of the queue; None for an id that none has."""
    row = await database.fetchrow(_ONE, id_)
    return None if row is None else _queued(row)


async def count(database: Database) -> Waiting:
    """Count the cohorts by their status."""
    rows = await database.fetch(_COUNT)
    return Waiting({row["status"]: row["cohorts"] for row in rows}, {row["status"]: row["unsettling"] for row in rows})


def place_of(one: Queued) -> Place:
    """Return the place of a cohort in the queue."""
    return Place(one.cohort.effect, one.cohort.id)


def _queued(row: Record) -> Queued:
    return Queued(
        cohort=decoded(row),
        slug=row["slug"] or row["tool"],
        status=row["status"],
        revision=row["seen"],
        reason=row["reason"],
        by=row["by"],
        voters=row["voters"],
        corrected=row["corrected"],
        decided_at=row["decided_at"],
    )
