"""Whether a database that nothing outside of it remembers may be a restored backup, whose mails went out in the time it lacks.

Processes say in the database that they live. One that was restored knows of nobody who lived when its mails were to go out.
"""

from datetime import timedelta
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from services.newsletter import periods
from services.newsletter.schedule import Schedule

Database: TypeAlias = "Pool[Any] | Connection[Any]"

QUIET: Final = timedelta(minutes=10)
"""So long nobody lives while a site is started anew, and mails that wait were not sent by others meanwhile."""

MAY_HAVE_GONE_OUT: Final = (
    "nothing outside the database remembers it, and nobody lived when mails were to go out:"
    " if it is a restored backup, they may have gone out"
)

_HAS_UNSETTLED: Final = "select exists (select from newsletter.issues where state in ('compiled', 'planned'))"
# At a site that is new nobody lived before.
_NOBODY_LIVED: Final = """
select count(*) > 0 from unnest($1::timestamptz[]) t(at)
where exists (select from status.processes p where p.started_at < t.at)
  and not exists (select from status.processes p where p.started_at <= t.at and p.seen_at >= t.at)
"""


async def may_be(database: Database, schedule: Schedule) -> bool:
    """Return whether an issue was due, or its mails waited, at a time when nobody lived as far as the database knows."""
    at = await periods.time_of(database)
    due = await periods.look(database, schedule, at)
    moments = [due.due_at[edition] for edition in due.editions]
    if await database.fetchval(_HAS_UNSETTLED):
        moments.append(at - QUIET)
    nobody_lived: bool = await database.fetchval(_NOBODY_LIVED, moments)
    return nobody_lived
