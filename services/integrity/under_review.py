"""Which tools are under review: those with cohorts that nobody has decided yet and that would change a settled verdict."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from projections.cards import UnderReview
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
