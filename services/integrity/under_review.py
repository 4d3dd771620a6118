"""Which tools are under review: those with cohorts that nobody has decided yet and that would change a settled verdict.

And of which no verdict may travel: those, and tools whose settled verdict rests on votes that no scan has judged yet.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from asyncpg import Connection

from projections.cards import UnderReview
from projections.registry import named
from projections.settled import settled
from services.integrity.cohorts import Database
from services.integrity.queue import JOINED

Reviews = Mapping[str, tuple[UnderReview, ...]]
"""By a tool's id, the days whose votes are under review, in order."""

_READ: Final = f"""
select c.tool, (c.begins at time zone 'UTC')::date as first,
       ((c.ends - interval '1 microsecond') at time zone 'UTC')::date as last
from {JOINED}
where c.unsettles and s.status in ('waiting', 'pending', 'voiding', 'undoing')
order by c.tool, c.begins
"""  # noqa: S608 - made of constants

# Tallies at a position of the views ($1), and how the votes up to there that no scan has judged have changed them.
_UNJUDGED: Final = named("""
select y.tool, y.ship, y.skip, d.ship as more_ship, d.skip as more_skip
from (
    select t.tool, count(*) filter (where t.plus = 'ship') - count(*) filter (where t.minus = 'ship') as ship,
           count(*) filter (where t.plus = 'skip') - count(*) filter (where t.minus = 'skip') as skip
    from integrity.scans s cross join lateral log.changes_taken(log.position_at(s.scanned_to), $1) t
    where s.scanned_to is not null
    group by t.tool
) d
join {cards}.tallies y on y.tool = d.tool
""")


async def read(database: Database) -> Reviews:
    """Return the tools that are under review; days that touch each other are one span."""
    found: dict[str, tuple[UnderReview, ...]] = {}
    for tool, first, last in await database.fetch(_READ):
        *earlier, span = found.get(tool, ()) or (UnderReview(first, last),)
        if first <= span.to + timedelta(days=1):
            found[tool] = (*earlier, UnderReview(span.from_, max(span.to, last)))
        else:
            found[tool] = (*earlier, span, UnderReview(first, last))
    return found


async def held(connection: "Connection[Any]", end: int) -> set[str]:
    """Return the tools, by id, of which no verdict may be told at a position that the views stand at.

    They are under review, or votes that no scan has judged yet settle them. Before the first scan all votes count as judged.
    """
    unjudged = {
        row["tool"]
        for row in await connection.fetch(_UNJUDGED, end)
        if settled(row["ship"], row["skip"])
        not in (None, settled(row["ship"] - row["more_ship"], row["skip"] - row["more_skip"]))
    }
    return unjudged | {*await read(connection)}
