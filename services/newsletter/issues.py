"""Issues: find what is due, compile it from the log between two positions, and plan it for every subscriber at once.

The cut-off is the one position that all views stand at. A period is compiled and planned once, however many workers try.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec
from asyncpg import Connection

from events.log import history, postgres
from projections.issues import compile_afresh, compile_content, decode_content, encode_content
from projections.registry import named
from services.integrity.under_review import held
from services.newsletter import mailed
from services.newsletter.ledger import Database
from services.newsletter.own_hours import OwnHours, stage
from services.newsletter.pace import transaction
from services.newsletter.periods import SERVE_LATE, DueWork, Edition, Standing, editions_of, keep, keep_early, said_late, stand
from services.newsletter.schedule import Schedule
from services.operators import acts

if TYPE_CHECKING:
    from services.tracing.mails import Mails

logger = logging.getLogger(__name__)

_LOCK: Final = 0x697373756573  # any constant: the one that compiles holds it

LAST_OF: Final = """
select i.to_position, i.compiled_at from newsletter.issues i where i.edition = $1 and i.state <> 'cancelled'
order by i.to_position desc limit 1
"""
KEEP: Final = """
insert into newsletter.issues (number, edition, due_at, extra, from_position, to_position, period_from, compiled_at, operator,
                               content, content_hash, state)
select coalesce(max(i.number), 0) + 1, $1, $2,
       case when $9 then coalesce(max(i.extra) filter (where i.edition = $1 and i.due_at = $2), 0) + 1 else 0 end,
       $3, $4, $5, $10, $6, $7, $8, 'compiled'
from newsletter.issues i
on conflict on constraint issues_one_a_period do nothing
returning number
"""
ENDED: Final = "the next issue came first"
"""The reason of mails that their issue hadn't sent when the next one of its edition was planned."""

# Every confirmed subscriber gets a row, with the reason if it gets no mail. If the issue has nothing in a reader's categories,
# the reader gets it only for changes on bookmarked tools. A planner that comes second waits for the lock and finds nothing.
# Of what the edition's last issue hasn't sent no more is sent ($7): its readers come first now, then the oldest subscribers,
# each a microsecond after the one before.
PLAN: Final = named("""
with unplanned as (
    select i.number, i.edition, i.due_at, i.extra from newsletter.issues i
    where i.number = $1 and i.state = 'compiled' for update
),
ended as (
    update newsletter.mails m set state = 'cancelled', reason = $7, settled_at = now()
    from unplanned u join newsletter.issues i on i.edition = u.edition and i.due_at < u.due_at and i.state = 'planned'
    where u.extra = 0 and m.issue = i.number and m.state in ('pending', 'deferred')
    returning m.reader
),
planned as (
    insert into newsletter.mails (issue, reader, kind, state, reason, not_before)
    select i.number, s.subscriber, 'digest', case when r.reason is null then 'pending' else 'excluded' end, r.reason,
           greatest(now(), h.leaves_at)
           + row_number() over (order by (e.reader is null), s.requested_at, s.subscriber) * interval '1 microsecond'
    from unplanned i
    cross join {subscribers}.subscribers s
    left join ended e on e.reader = s.subscriber
    left join own_hours h on h.reader = s.subscriber
    cross join lateral (
        select case when s.suppressed is not null then 'suppressed'
                    when s.frequency <> $2 then 'reads the other edition'
                    when s.paused_until > $5 then 'paused'
                    when s.categories <> '{}' and not s.categories && $3 and not exists (
                        select from {subscribers}.visitors v join {bookmarks}.bookmarks b on b.visitor = v.visitor
                        where v.subscriber = s.subscriber and b.tool = any($4)) then 'nothing in its categories'
               end as reason
    ) r
    where s.status = 'confirmed'
    returning 1
)
update newsletter.issues set state = 'planned', planned_at = now(), planned = (select count(*) from planned), checkpoint = $6
where number = (select i.number from unplanned i)
""")
SERVED: Final = """
select i.number from newsletter.issues i
where i.edition = $1 and (i.due_at = $2 or (i.operator is not null and i.compiled_at > $3)) order by i.number desc limit 1
"""
STATE_OF: Final = """
select i.number, i.edition, i.due_at, i.from_position, i.to_position, i.period_from, i.compiled_at, i.state, i.planned,
       i.planned_at, i.settled_at, i.operator
from newsletter.issues i
"""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """An issue without its content; `due_at` is the end of the scheduled period it serves."""

    number: int
    edition: Edition
    due_at: datetime
    from_position: int
    to_position: int
    period_from: datetime
    compiled_at: datetime
    state: str
    planned: int
    planned_at: datetime | None
    settled_at: datetime | None
    operator: str | None


class ServedEdition(msgspec.Struct, frozen=True):
    """An edition's issue after an operator's "send now"; `is_new` is false if the period had been served before."""

    issue: Issue
    is_new: bool


class IssueUnknown(Exception):
    """There is no issue of this number."""


async def compile_issue(
    dsn: str, edition: Edition, due_at: datetime, at: datetime, *, operator: str | None = None, extra: bool = False
) -> int | None:
    """Compile and store the issue of the period that ends at `due_at`; return its number, None if the period has one."""
    # A compilation that stalls holds up the others.
    connection = await postgres.connect(dsn, "digest", idle_in_transaction_session_timeout="300000")
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            number = await compile_within(connection, dsn, edition, due_at, at, operator=operator, extra=extra)
            if number is not None and operator is not None:
                await acts.note(connection, operator, "sent-issue", f"issue {number}")
            return number
    finally:
        connection.terminate()


async def compile_within(
    connection: "Connection[Any]",
    dsn: str,
    edition: Edition,
    due_at: datetime,
    at: datetime,
    *,
    operator: str | None,
    extra: bool,
) -> int | None:
    """Compile and store an issue within the transaction of a connection; return its number, None if the period has one."""
    start, since = await start_of(connection, edition)
    end, content = await compile_content(dsn, start, held)
    raw, digest = encode_content(content)
    number: int | None = await connection.fetchval(KEEP, edition, due_at, start, end, since, operator, raw, digest, extra, at)
    return number


async def start_of(database: Database, edition: Edition) -> tuple[int, datetime]:
    """Return the position after which the running period of an edition began, and the time."""
    row = await database.fetchrow(LAST_OF, edition)
    if row is not None:
        return row["to_position"], row["compiled_at"]
    since: datetime = await database.fetchval("select since from newsletter.schedule")
    return 0, since


@asynccontextmanager
async def rolled_back(dsn: str) -> AsyncIterator["Connection[Any]"]:
    """Yield a connection in a transaction that is rolled back in any case."""
    connection = await postgres.connect(dsn, "digest")
    try:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection
        finally:
            await transaction.rollback()
    finally:
        connection.terminate()


async def verify(dsn: str, number: int) -> bool:
    """Return whether an issue compiled again, from views folded for it alone, has the same content. Raises IssueUnknown.

    Of which tools no verdict was told is taken from the issue: the log doesn't say what was still being checked.
    """
    async with rolled_back(dsn) as connection:
        row = await connection.fetchrow(
            "select from_position, to_position, content, content_hash from newsletter.issues where number = $1", number
        )
        if row is None:
            raise IssueUnknown(number)
        kept = decode_content(row["content"])
        without = {tool.tool for tool in kept.changes if tool.held}
        content = await compile_afresh(
            connection, row["from_position"], row["to_position"], without, by_settled=kept.by_settled
        )
        return bool(encode_content(content)[1] == row["content_hash"])


async def plan(database: Database, number: int, schedule: Schedule, at: datetime, own: OwnHours | None = None) -> int:
    """Write a row in the ledger for every subscriber, unless the issue is planned already; return their number.

    With `own` hours, a scheduled issue leaves when it is its hour where each reader is; one that an operator sends leaves now.
    """
    row = await database.fetchrow(
        "select edition, state, content, to_position, due_at, operator from newsletter.issues where number = $1", number
    )
    if row is None:
        raise IssueUnknown(number)
    if row["state"] == "compiled":
        content = decode_content(row["content"])
        tools = [tool.tool for tool in content.changes]
        today = at.astimezone(schedule.tzinfo).date()
        note = await mailed.choose(database, number, row["to_position"])
        categories = sorted(content.categories)
        async with transaction(database) as connection:
            await stage(connection, own if row["operator"] is None else None, row["due_at"])
            await connection.execute(PLAN, number, row["edition"], categories, tools, today, note, ENDED, timeout=600)
    planned: int = await database.fetchval("select planned from newsletter.issues where number = $1", number)
    return planned


async def never() -> bool:
    """Let nothing wait."""
    return False


async def tick(
    pool: "asyncpg.Pool[Any]",
    dsn: str,
    schedule: Schedule,
    at: datetime,
    own: OwnHours | None = None,
    tracing: "Mails | None" = None,
    waits: Callable[[], Awaitable[bool]] = never,
) -> DueWork:
    """Compile and plan the work that is due, unless it waits. In most minutes there is none, and nothing is written."""
    standing = await stand(pool, schedule, at, is_worker=True)
    await keep(pool, standing)
    due = standing.work(at)
    if said := said_late(due):
        logger.error("%s: %s", said, SERVE_LATE)
    if (due.editions or due.unplanned) and await waits():
        return DueWork(at=due.at, due_at=due.due_at)
    for edition in due.editions:
        began = time_ns()
        number = await compile_issue(dsn, edition, due.due_at[edition], at)
        if number is not None:
            logger.info("compiled issue %d, %s", number, edition)
            await plan(pool, number, schedule, at, own)
            if tracing is not None:
                tracing.issue(number, edition, began)
    for number in due.unplanned:
        await plan(pool, number, schedule, at, own)
    return due


async def send_now(
    connection: Database, dsn: str, schedule: Schedule, at: datetime, operator: str, *, extra: bool = False
) -> list[ServedEdition]:
    """Compile and plan the issues that are owed, or else the running period's; once a period unless `extra`."""
    standing = await stand(connection, schedule, at, is_worker=False)
    coming, owed = standing.course.coming, {} if standing.is_paused else standing.owed
    served = []
    for edition, due_at, began in _to_serve(standing, at):
        before = None if extra else await connection.fetchval(SERVED, edition, due_at, began)
        number = before or await compile_issue(dsn, edition, due_at, at, operator=operator, extra=extra)
        if number is None:  # the clock was faster
            number = before = await connection.fetchval(SERVED, edition, due_at, began)
        if number is not None:
            await plan(connection, number, schedule, at)
            served.append(ServedEdition(await issue(connection, number), before is None))
    if not owed and not extra and any(one.issue.due_at == coming.due_at for one in served):
        await keep_early(connection, coming)
    return served


async def to_send(database: Database, schedule: Schedule, at: datetime) -> list[Edition]:
    """Return the editions of which "send now" would send an issue: those that weren't served before."""
    standing = await stand(database, schedule, at, is_worker=False)
    return [
        edition
        for edition, due_at, began in _to_serve(standing, at)
        if await database.fetchval(SERVED, edition, due_at, began) is None
    ]


def _to_serve(standing: Standing, at: datetime) -> Iterator[tuple[Edition, datetime, datetime]]:
    """Return what is owed, or else the running period's editions: each with the end of its period, and when it began."""
    coming, owed = standing.course.coming, {} if standing.is_paused else standing.owed
    for edition in tuple(owed) or editions_of(coming):
        yield edition, owed.get(edition, coming.due_at), at if edition in owed else standing.began


async def issues(database: Database, most: int = 20) -> Sequence[Issue]:
    """Return the last issues, newest first."""
    return [Issue(**row) for row in await database.fetch(STATE_OF + "order by i.number desc limit $1", most)]


async def issue(database: Database, number: int) -> Issue:
    """Return an issue. Raises IssueUnknown."""
    row = await database.fetchrow(STATE_OF + "where i.number = $1", number)
    if row is None:
        raise IssueUnknown(number)
    return Issue(**row)


CANCEL: Final = """
with stopped as (
    update newsletter.mails set state = 'cancelled', reason = 'the issue was cancelled', settled_at = now()
    where issue = $1 and state in ('pending', 'deferred') returning 1
),
closed as (
    update newsletter.issues set state = 'cancelled', settled_at = now()
    where number = $1 and state in ('compiled', 'planned') returning number
)
select s.mails, (select operators.note($2, 'cancelled-issue', 'issue ' || c.number, s.mails::text) from closed c)
from (select count(*) as mails from stopped) s
"""


async def cancel(database: Database, number: int, operator: str) -> int:
    """Stop an issue; return the number of mails not sent. Raises IssueUnknown."""
    await issue(database, number)
    stopped: int = await database.fetchval(CANCEL, number, operator)
    return stopped


SET_PAUSED: Final = """
with switched as (
    update newsletter.schedule set paused_at = case when $1 then coalesce(paused_at, now()) end, held = null,
        resumed_at = case when $1 then resumed_at else now() end
)
select operators.note($2, case when $1 then 'paused-digests' else 'resumed-digests' end, 'digests')
"""


async def set_paused(database: Database, operator: str, *, paused: bool) -> None:
    """Pause the compiling and sending of issues, or resume it. Who resumes has seen that the log went back, if it did."""
    if not paused:
        await history.answer(database)
    await database.execute(SET_PAUSED, paused, operator)
