"""The periods of issues: what the clock owes, by the database's time, and where it stands.

A period stays due until an issue of its edition serves it, or a later one: that one says all that came since the issue before.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from services.newsletter.ledger import Database
from services.newsletter.schedule import LATE_AFTER, Course, Period, Schedule, begin, follow

Edition = Literal["weekly", "monthly"]
RELEASE: Final = "read in docs/operating.md what to check, then let it go on: `ballotpress digest resume`"
SERVE_LATE: Final = "`ballotpress digest send --now` sends it"

# One statement, so that a minute with nothing due costs one look. Before there were periods, issues alone say what was due.
LOOK: Final = """
select s.since, s.paused_at, s.day, s.hour, s.zone, s.next_due, l.due_at, l.month, l.monthly,
       (select max(p.due_at) from newsletter.periods p where p.due_at <= $1) as weekly_due,
       (select max(p.due_at) from newsletter.periods p where p.due_at <= $1 and p.monthly) as monthly_due,
       (select max(i.due_at) from newsletter.issues i where i.extra = 0 and i.edition = 'weekly') as weekly_served,
       (select max(i.due_at) from newsletter.issues i where i.extra = 0 and i.edition = 'monthly') as monthly_served,
       coalesce((select array_agg(i.number) from newsletter.issues i where i.state = 'compiled'), '{}') as unplanned
from newsletter.schedule s
left join lateral (
    select p.due_at, p.month, p.monthly from newsletter.periods p
    union all
    select i.due_at, date_trunc('month', i.due_at at time zone 'utc')::date, false from newsletter.issues i
    where i.extra = 0 and not exists (select from newsletter.periods)
    order by due_at desc limit 1
) l on true
"""
# Of two workers that look at once, one writes.
FOLLOW: Final = """
with followed as (
    update newsletter.schedule set day = $1, hour = $2, zone = $3, next_due = $4
    where next_due is not distinct from $5 returning 1
)
insert into newsletter.periods (due_at, month, monthly)
select p.due_at, p.month, p.monthly
from followed cross join unnest($6::timestamptz[], $7::date[], $8::boolean[]) as p(due_at, month, monthly)
on conflict do nothing
"""
KEEP: Final = "insert into newsletter.periods (due_at, month, monthly) values ($1, $2, $3) on conflict do nothing"


class DueWork(msgspec.Struct, frozen=True, kw_only=True):
    """Work that is due: editions to compile, issues compiled but not planned, and editions that are too late.

    `at` is the end of the last period, `due_at` that of the last period each edition owes.
    """

    at: datetime
    due_at: Mapping[Edition, datetime]
    editions: tuple[Edition, ...] = ()
    unplanned: tuple[int, ...] = ()
    late: tuple[Edition, ...] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the clock of issues stands: its course, the periods that ended unrecorded, and what each edition owes.

    `began` is when the running period began, `before` the end of the running period as it is recorded (None: it isn't).
    """

    course: Course
    ended: Sequence[Period]
    owed: Mapping[Edition, datetime]
    began: datetime
    before: datetime | None
    unplanned: tuple[int, ...]
    is_paused: bool
    has_moved: bool

    def work(self, at: datetime) -> DueWork:
        """Return the work that is due."""
        if self.is_paused:
            return DueWork(at=self.began, due_at={})
        missing = tuple(self.owed)
        if at - self.began > LATE_AFTER:
            return DueWork(at=self.began, due_at=self.owed, unplanned=self.unplanned, late=missing)
        return DueWork(at=self.began, due_at=self.owed, unplanned=self.unplanned, editions=missing)


def editions_of(period: Period) -> tuple[Edition, ...]:
    """Return the editions of a period: the monthly one comes with its month's first issue."""
    return ("weekly", "monthly") if period.monthly else ("weekly",)


async def time_of(database: Database) -> datetime:
    """Return the database's time. Issues go by it, so that a worker whose clock is wrong sends nothing early."""
    at: datetime = await database.fetchval("select now()")
    return at


async def look(database: Database, schedule: Schedule, at: datetime) -> DueWork:
    """Return the work that is due; write nothing. A schedule that a worker follows goes before the one given."""
    return (await stand(database, schedule, at, is_worker=False)).work(at)


async def stand(database: Database, schedule: Schedule, at: datetime, *, is_worker: bool) -> Standing:
    """Return where the clock stands. Only a worker's settings change the schedule that is followed."""
    (row,) = await database.fetch(LOOK, at)
    last = None if row["due_at"] is None else Period(row["due_at"], row["month"], row["monthly"])
    if row["next_due"] is None:
        course, ended = begin(schedule, row["since"], at, last)
        before = None
    else:
        before = Course(Schedule(row["day"], row["hour"], row["zone"]), row["next_due"], last)
        course, ended = follow(before, schedule if is_worker else before.schedule, at)
    return Standing(
        course=course,
        ended=ended,
        owed=_owed(row, ended),
        began=ended[-1].due_at if ended else row["weekly_due"] or row["since"],
        before=row["next_due"],
        unplanned=tuple(sorted(row["unplanned"])),
        is_paused=row["paused_at"] is not None,
        has_moved=at >= row["since"] and course != before,
    )


def _owed(row: Mapping[str, Any], ended: Sequence[Period]) -> Mapping[Edition, datetime]:
    """Return the end of the last period of each edition that no issue has served."""
    owed: dict[Edition, datetime] = {}
    editions: tuple[Edition, ...] = ("weekly", "monthly")
    for edition in editions:
        due = [period.due_at for period in ended if edition in editions_of(period)]
        due += [row[f"{edition}_due"]] if row[f"{edition}_due"] else []
        if due and (row[f"{edition}_served"] is None or row[f"{edition}_served"] < max(due)):
            owed[edition] = max(due)
    return owed


async def late(database: Database, schedule: Schedule, at: datetime) -> str | None:
    """Return a sentence on the issue that is too late to send without an operator; None if there is none."""
    what = said_late(await look(database, schedule, at))
    return None if what is None else f"{what}: {SERVE_LATE}"


async def held(database: Database) -> str | None:
    """Return a sentence on why nothing is sent without an operator's word; None if the newsletter isn't held."""
    why = await database.fetchval("select held from newsletter.schedule")
    return None if why is None else f"The newsletter is held: {why}: {RELEASE}"


def said_late(due: DueWork) -> str | None:
    """Return a line on the issue that is too late; None if there is none."""
    if not due.late:
        return None
    since = min(due.due_at[edition] for edition in due.late)
    return f"The {' and '.join(due.late)} issue due at {since:%Y-%m-%d %H:%M} UTC is more than a day late"


async def keep(database: Database, standing: Standing) -> None:
    """Keep where the clock stands, if it has moved. Writes nothing if it hasn't."""
    if not standing.has_moved:
        return
    course, ended = standing.course, standing.ended
    await database.execute(
        FOLLOW,
        course.schedule.day,
        course.schedule.hour,
        course.schedule.zone,
        course.next_due,
        standing.before,
        [period.due_at for period in ended],
        [period.month for period in ended],
        [period.monthly for period in ended],
    )


async def keep_early(database: Database, period: Period) -> None:
    """Keep a period that was served before its end."""
    await database.execute(KEEP, period.due_at, period.month, period.monthly)
