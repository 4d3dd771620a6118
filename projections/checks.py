"""Read what came of checking votes and reviews, across the views: the numbers of the page that says how we check."""

from typing import Literal

import msgspec

from events.log.reads import Reads
from projections import reviews
from projections.registry import named
from projections.reviews import Acts
from projections.tally import percent


class Corrected(msgspec.Struct, frozen=True):
    """How often voters were disqualified, or reinstated, and how many voters and votes these were."""

    corrections: int = 0
    voters: int = 0
    votes: int = 0


class Cohorts(msgspec.Struct, frozen=True):
    """What was decided about groups of votes that looked bought, and how many such decisions were taken back.

    `precision` is the percentage of those found that are voided: of all but the watched ones. It is null before any decision.
    """

    voided: int
    dismissed: int
    watched: int
    undone: int
    precision: int | None


class Checks(msgspec.Struct, frozen=True):
    """What came of checking votes and reviews, since the log began."""

    cohorts: Cohorts
    disqualified: Corrected
    reinstated: Corrected
    reviews: Acts


CORRECTED = named("""
select action, count(*) as corrections, sum(voters)::bigint as voters, sum(votes)::bigint as votes
from {corrections}.corrections
group by action
""")

COHORTS = named("""
select count(*) filter (where status in ('voiding', 'voided')) as voided,
       count(*) filter (where status = 'dismissed') as dismissed,
       count(*) filter (where status = 'watched') as watched,
       coalesce(sum(undone), 0)::bigint as undone,
       count(*) filter (where undone > 0 and status in ('waiting', 'undoing')) as taken_back
from {integrity}.decisions
""")


async def checks(pool: Reads) -> Checks:
    """Return what came of all checks."""
    rows = {row["action"]: row for row in await pool.fetch(CORRECTED)}

    def corrected(action: Literal["disqualified", "reinstated"]) -> Corrected:
        row = rows.get(action)
        return Corrected() if row is None else Corrected(row["corrections"], row["voters"], row["votes"])

    return Checks(
        cohorts=await _cohorts(pool),
        disqualified=corrected("disqualified"),
        reinstated=corrected("reinstated"),
        reviews=await reviews.acts(pool),
    )


async def _cohorts(pool: Reads) -> Cohorts:
    row = await pool.fetchrow(COHORTS)
    assert row is not None  # noqa: S101 - an aggregate has one row
    voided, dismissed = row["voided"], row["dismissed"]
    precision = percent(voided, voided + dismissed + row["taken_back"])
    return Cohorts(voided, dismissed, row["watched"], row["undone"], precision)
