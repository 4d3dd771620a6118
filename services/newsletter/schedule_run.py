"""What of an issue is due now is done: compiled, planned, and left to the sender. The same by the clock and by an operator."""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec

from events.commands.subscribers import EraseSubscriber
from events.log.committer import Committer
from projections import subscribers
from services.newsletter import issues
from services.newsletter.issues import Due, Issue
from services.newsletter.ledger import Database
from services.newsletter.schedule import Schedule
from services.settings import Newsletter

FORGET_AFTER: Final = timedelta(days=7)

SERVED: Final = """
select i.number, i.compiled_at from newsletter.issues i
where i.edition = $1 and (i.due_at = $2 or (i.operator is not null and i.compiled_at > $3)) order by i.number desc limit 1
"""

logger = logging.getLogger(__name__)


class Sent(msgspec.Struct, frozen=True):
    """What an operator's "send now" did with an edition: the issue, and whether it had been sent before."""

    issue: Issue
    is_new: bool


def schedule_of(newsletter: Newsletter) -> Schedule:
    """Give the schedule that the settings name."""
    return Schedule(newsletter.day, newsletter.hour, newsletter.zone)


async def tick(pool: "asyncpg.Pool[Any]", dsn: str, schedule: Schedule, at: datetime) -> Due:
    """Do what the clock asks for: nothing, most minutes, and then nothing is written."""
    due = await issues.look(pool, schedule, at)
    if due.late:
        logger.error("%s", await issues.late(pool, schedule, at))
    for edition in due.editions:
        number = await issues.compile_issue(dsn, edition, due.at, at)
        if number is not None:
            logger.info("compiled issue %d, %s", number, edition)
            await issues.plan(pool, number, schedule, at)
    for number in due.unplanned:
        await issues.plan(pool, number, schedule, at)
    return due


async def send_now(
    connection: Database, dsn: str, schedule: Schedule, at: datetime, operator: str, *, extra: bool = False
) -> list[Sent]:
    """Serve the running period now, or the one that is late; once, however often it is asked for, unless `extra`."""
    late = (await issues.look(connection, schedule, at)).late
    last, coming = schedule.last(at), schedule.next(at)
    sent = []
    for edition in issues.editions_at(schedule, last if late else coming):
        due_at = last if edition in late else coming
        row: Any = None if extra else await connection.fetchrow(SERVED, edition, due_at, last)
        number = row["number"] if row else await issues.compile_issue(dsn, edition, due_at, at, operator=operator, extra=extra)
        if number is None:  # the clock was faster
            row = await connection.fetchrow(SERVED, edition, due_at, last)
            number = row["number"] if row else None
        if number is not None:
            await issues.plan(connection, number, schedule, at)
            sent.append(Sent(await issues.issue(connection, number), row is None))
    return sent


async def forget_unconfirmed(database: Database, committer: Committer, at: datetime) -> list[str]:
    """Destroy the keys of addresses that were not confirmed within seven days of the last link; give whose."""
    unconfirmed = await subscribers.read_unconfirmed(database, at - FORGET_AFTER)
    for subscriber in unconfirmed:
        await committer.submit(EraseSubscriber(subscriber, unconfirmed_only=True))
    return unconfirmed
