"""Which tags a span of the log touches."""

from typing import Any, Final

from asyncpg import Connection

from events.catalog import (
    ComparisonAnnounced,
    FormerSlugAdded,
    PanelReviewPublished,
    PanelReviewRevised,
    PersonaDescribed,
    ToolAdded,
    ToolDescribed,
    ToolListed,
    ToolRenamed,
    ToolUnlisted,
)
from events.reviews import ReviewApproved, ReviewRejected, ReviewWithdrawn
from events.voters import CorrectionRecorded
from projections.registry import named
from services.purge.tags import EVERYTHING, MOST, tags_of_tools

_SHOWN: Final = [
    type_.__name__
    for type_ in (
        ToolAdded, ToolDescribed, ToolListed, ToolUnlisted, PanelReviewPublished, PanelReviewRevised, ComparisonAnnounced,
        ReviewApproved, ReviewRejected, ReviewWithdrawn, CorrectionRecorded,
    )
]  # fmt: skip
"""The events that pages show, beside ballots, whose tallies say by themselves when they changed."""
_OF_ALL: Final = [ToolRenamed.__name__, FormerSlugAdded.__name__, PersonaDescribed.__name__]
"""Those after which pages stand under other addresses, and so under other tags; and what the page of every tool may show."""

READ_REACHED: Final = named("select position from {cards}.checkpoint")

# The tallies and cards that changed, also those that have changed again since: else a tool that is voted on all the time would
# never be told of. A card changes with its successor too. And the tools that other events ($3) between two positions are about:
# they say so, or the first of their stream does.
READ_CHANGED: Final = named("""
with others as materialized (
    select e.stream, e.type, e.data from log.taken($1, $2, '{}', $3) e
    where e.type not in ('VoteCast', 'VoteRetracted') or e.schema_version <> 1
    limit $4
),
tools as (
    select tool from {cards}.tallies where position > $1
    union
    select tool from {cards}.tools where position > $1
    union
    select coalesce(e.data->>'tool', (select f.data->>'tool' from log.of_stream(e.stream) f
                                      order by f.version limit 1))
    from others e where e.type <> 'ComparisonAnnounced'
    union
    select e.data->>side from others e, unnest(array['left', 'right']) side where e.type = 'ComparisonAnnounced'
)
select (select count(*) from others) as others,
       (select exists (select from log.taken($1, $2, '{}', $5) e
                       where e.type not in ('VoteCast', 'VoteRetracted') or e.schema_version <> 1)) as all,
       array(select t.slug from tools c join {cards}.tools t on t.tool = c.tool order by t.slug limit $4) as slugs
""")


async def read_reached(connection: "Connection[Any]") -> int:
    """Return the position up to which pages show the log."""
    reached: int | None = await connection.fetchval(READ_REACHED)
    return reached or 0


async def read_tags(connection: "Connection[Any]", since: int, reached: int) -> list[str]:
    """Return the tags of the answers that the events between two positions may have changed; none if no page shows them."""
    if reached < since:  # the log went back: nobody knows what pages showed of what is gone
        return [EVERYTHING]
    row = await connection.fetchrow(READ_CHANGED, since, reached, _SHOWN, MOST, _OF_ALL)
    assert row is not None  # noqa: S101 - the statement returns one row
    if row["all"] or row["others"] >= MOST:
        return [EVERYTHING]
    return tags_of_tools(row["slugs"]) if row["others"] or row["slugs"] else []
