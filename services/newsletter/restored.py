"""A database that was restored, and what may have been sent in the time it lacks.

What the send marks name and the ledger hasn't counted becomes uncertain. Where nothing outside the database remembers anything,
the database itself may tell: processes say in it that they live, and a restored one knows of nobody who lived when its mails
were to go out.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from services.newsletter import periods
from services.newsletter.schedule import Schedule
from services.newsletter.sent_marks import BEHIND, SINGLES, place_of, read_group

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

WITHOUT_RELAY: Final = (
    "Issues of this database went out through a relay, and SMTP_URL is not set: what waits would be kept in the outbox, count"
    " as accepted, and reach nobody. Set it as it was, and start the worker again; --outbox resumes all the same"
)

# A mail that the outbox keeps has no code.
_HELD_AND_RELAYED: Final = """
select s.held is not null and exists (
    select from newsletter.mails m where m.issue > 0 and m.state = 'accepted' and m.code is not null
) from newsletter.schedule s
"""

AT_ONCE: Final = 1000
_OPEN: Final = """
select number, edition, due_at, extra, period_from from newsletter.issues where state in ('compiled', 'planned') order by 1
"""
_UNCERTAIN: Final = """
with marked as (
    select r.reader, r.mail, max(r.claims) as claims
    from unnest($2::text[], $3::text[], $4::integer[]) as r(reader, mail, claims) group by 1, 2
),
doubted as (
    update newsletter.mails m
    set state = 'uncertain', reason = $5, claim = null, claims = r.claims, settled_at = now()
    from marked r
    where m.issue = $1 and m.reader = r.reader and m.mail = r.mail and m.state in ('pending', 'deferred')
      and m.claims < r.claims
    returning 1
),
missing as (
    insert into newsletter.mails (issue, reader, kind, state, reason, claims, not_before, settled_at)
    select i.number, r.reader, 'digest', 'uncertain', $5, r.claims, now(), now()
    from marked r join newsletter.issues i on i.number = $1 and i.state = 'planned'
    on conflict on constraint mails_pkey do nothing
    returning 1
),
counted as (
    update newsletter.issues set planned = planned + (select count(*) from missing)
    where number = $1 and exists (select from missing)
)
select (select count(*) from doubted) + (select count(*) from missing)
"""


async def doubt(database: Database, folder: Path | None) -> int:
    """Make every mail uncertain that a mark names and the ledger hasn't counted or doesn't have; return their number.

    Raises MarksUnusable. An issue that is planned later is held to the marks when its mails are about to be sent.
    """
    doubted = await _doubt(database, folder, 0, SINGLES)
    for row in await database.fetch(_OPEN):
        doubted += await _doubt(database, folder, row["number"], place_of(row).group)
    return doubted


async def _doubt(database: Database, folder: Path | None, issue: int, group: str) -> int:
    doubted = 0
    marks = await asyncio.to_thread(lambda: list(read_group(folder, group)))
    for start in range(0, len(marks), AT_ONCE):
        readers, mails, claims = zip(*((m.reader, m.mail, m.claims) for m in marks[start : start + AT_ONCE]), strict=True)
        doubted += await database.fetchval(_UNCERTAIN, issue, readers, mails, claims, BEHIND)
    return doubted


async def held_and_relayed(database: Database) -> bool:
    """Return whether the newsletter is held in a database whose issues went out through a relay."""
    found: bool | None = await database.fetchval(_HELD_AND_RELAYED)
    return bool(found)


async def may_be(database: Database, schedule: Schedule) -> bool:
    """Return whether an issue was due, or its mails waited, at a time when nobody lived as far as the database knows."""
    at = await periods.time_of(database)
    due = await periods.look(database, schedule, at)
    moments = [due.due_at[edition] for edition in due.editions]
    if await database.fetchval(_HAS_UNSETTLED):
        moments.append(at - QUIET)
    nobody_lived: bool = await database.fetchval(_NOBODY_LIVED, moments)
    return nobody_lived
