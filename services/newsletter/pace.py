"""The pace of issues: a cap of digests a day that grows by a plan, and the hours at which they may leave.

The cap is counted in the database, in the statement that claims the mails, so all workers together keep to it. Mails beyond it
wait, and the next day takes them up. Single mails, such as confirmations, know no pace.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime, timedelta, tzinfo
from math import floor
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg
import msgspec
from asyncpg import Connection, Pool

from services.newsletter.schedule import zone_of
from services.setting_groups import Hours, Newsletter, Pace

logger = logging.getLogger(__name__)

Database: TypeAlias = "Pool[Any] | Connection[Any]"

KEEP_DAYS: Final = 400
MOST_DAYS: Final = 3660
"""The days that a forecast looks ahead."""

FOLLOW: Final = """
update newsletter.pace p set zone = $1, opens = $2, closes = $3, warm_up = $4, growth = $5, most = $6, provider_most = $7
where (now() at time zone $1) is not null and (p.zone, p.opens, p.closes, p.warm_up, p.growth, p.most, p.provider_most)
      is distinct from ($1, $2::smallint, $3::smallint, $4::bigint, $5::double precision, $6::bigint, $7::bigint)
"""
# Days that used half of their cap; those of the last year, so that one that was long ago warms nothing.
WARMED: Final = """
select g.day, count(d.day) as warmed, coalesce(max(t.mails), 0) as mails
from newsletter.gate g
left join newsletter.days d on d.provider = '' and d.day < g.day and d.mails * 2 >= d.cap
left join newsletter.days t on t.provider = '' and t.day = g.day
group by g.day
"""
OPEN_DAY: Final = """
insert into newsletter.days as d (day, cap) values ($1, $2)
on conflict (day, provider) do update set cap = excluded.cap where d.cap <> excluded.cap
"""
FORGET_DAYS: Final = "delete from newsletter.days where day < $1"
# The row of each provider is locked, in one order for all workers, and says what is left of its share; so the next statement
# counts what was let pass, and nobody reads it in between.
READ_SHARES: Final = """
insert into newsletter.days as d (day, provider, cap)
select g.day, w.provider, p.provider_most
from newsletter.gate g cross join newsletter.pace p cross join unnest($1::text[]) as w(provider)
where p.provider_most is not null order by w.provider
on conflict (day, provider) do update set cap = excluded.cap
returning d.day, d.provider, greatest(d.cap - d.mails, 0) as room
"""
COUNT_SHARES: Final = """
update newsletter.days d set mails = greatest(d.mails + n.mails, 0)
from unnest($2::text[], $3::bigint[]) as n(provider, mails) where d.day = $1 and d.provider = n.provider
"""
NEXT_DAY: Final = """
select ceil(extract(epoch from ((g.day + 1 + make_interval(hours => p.opens)) at time zone p.zone) - now()))::integer
from newsletter.gate g cross join newsletter.pace p
"""
SHARED: Final = "the next day: their provider had its share of today"
"""The reason of mails beyond their provider's share."""
READ_GATE: Final = "select day, is_open, is_capped, room from newsletter.gate"
# A mail with an hour of its own was planned for a time to come. Beyond the day's cap it leaves at that hour of the next day.
KEEP_HOURS: Final = """
with late as (
    select m.issue, m.reader, m.mail from newsletter.mails m
    where m.issue > 0 and m.state = 'pending' and m.not_before between now() - interval '1 day' and now()
      and m.not_before > m.planned_at + interval '1 minute'
      and (select g.is_capped and g.room = 0 from newsletter.gate g)
    limit $1 for update skip locked
)
update newsletter.mails m set not_before = m.not_before + interval '1 day'
from late l where m.issue = l.issue and m.reader = l.reader and m.mail = l.mail
"""
KEEP_AT_ONCE: Final = 20_000
READ_PLAN: Final = "select zone, opens, closes, warm_up, growth, most, provider_most from newsletter.pace"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say: the hours of the clock in `zone` at which digests leave, and the caps of a day.

    `warm_up` is the cap of the first day, `most` the one that stays; without either there is none.
    """

    zone: str = "UTC"
    opens: int = 0
    closes: int = 0
    warm_up: int | None = None
    growth: float = 1.5
    most: int | None = None
    provider_most: int | None = None

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone of the window, and of its days."""
        return zone_of(self.zone)

    def cap(self, warmed: int) -> int | None:
        """Return the cap of a day after so many that used half of theirs; None if there is none."""
        if self.warm_up is None:
            return self.most
        longest = 64 / max(self.growth - 1, 0.01)  # beyond that no list is as long, and floats end
        grown: int = floor(self.warm_up * self.growth ** min(warmed, longest))
        return grown if self.most is None else min(grown, self.most)

    def day_of(self, at: datetime) -> date:
        """Return the day that a time belongs to: days begin when the window opens."""
        local = at.astimezone(self.tzinfo).replace(tzinfo=None)
        return (local - timedelta(hours=self.opens)).date()

    def is_open(self, at: datetime) -> bool:
        """Tell whether digests may leave at a time."""
        hour = at.astimezone(self.tzinfo).hour
        if self.opens < self.closes:
            return self.opens <= hour < self.closes
        return self.opens == self.closes or hour >= self.opens or hour < self.closes


class Forecast(NamedTuple):
    """How long so many mails take: the days, today included, and how many of them are left after a number of days."""

    days: int
    left: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pace stands: the plan, the day, what was counted on it, and how many days warmed up before."""

    plan: Plan
    day: date
    mails: int
    warmed: int

    @property
    def cap(self) -> int | None:
        """The cap of the day."""
        return self.plan.cap(self.warmed)

    def forecast(self, mails: int, within: int = MOST_DAYS) -> Forecast:
        """Return how many days an issue's mails take, and how many are left after `within` days."""
        left, used, warmed = mails, self.mails, self.warmed
        for passed in range(MOST_DAYS):
            cap = self.plan.cap(warmed)
            sent = left if cap is None else min(left, max(cap - used, 0))
            left -= sent
            if not left or passed + 1 == within:
                return Forecast(passed + 1, left)
            warmed += bool(cap and (used + sent) * 2 >= cap)
            used = 0
        return Forecast(MOST_DAYS, left)


def plan_of(pace: Pace, newsletter: Newsletter) -> Plan:
    """Return the plan that the settings name."""
    hours = pace.sending_hours or Hours(0, 0)
    return Plan(
        zone=newsletter.zone,
        opens=hours.opens,
        closes=hours.closes % 24,
        warm_up=pace.warm_up,
        growth=pace.warm_up_growth,
        most=pace.mails_per_day,
        provider_most=pace.provider_mails_per_day,
    )


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator["Connection[Any]"]:
    """Begin a transaction, within one that a connection may have begun."""
    async with AsyncExitStack() as stack:
        connection: Any = database
        if isinstance(database, asyncpg.Pool):
            connection = await stack.enter_async_context(database.acquire())
        await stack.enter_async_context(connection.transaction())
        yield connection


async def follow(database: Database, plan: Plan) -> None:
    """Follow a plan from now on, and open the day's account. Writes nothing where nothing has changed."""
    try:
        await _keep(database, plan)
    except asyncpg.InvalidParameterValueError:
        logger.error("PostgreSQL doesn't know the time zone %s: sending hours and caps go by UTC", plan.zone)
        await _keep(database, msgspec.structs.replace(plan, zone="UTC"))
    standing = await stand(database)
    if standing.cap is not None:
        await database.execute(OPEN_DAY, standing.day, standing.cap)
        await database.execute(FORGET_DAYS, standing.day - timedelta(days=KEEP_DAYS))


async def _keep(database: Database, plan: Plan) -> None:
    await database.execute(FOLLOW, plan.zone, plan.opens, plan.closes, plan.warm_up, plan.growth, plan.most, plan.provider_most)


async def keep_hours(database: Database) -> None:
    """Let mails beyond the day's cap keep their readers' own hour on the next day, some thousand at a time."""
    await database.execute(KEEP_HOURS, KEEP_AT_ONCE)


async def stand(database: Database) -> Standing:
    """Return where the pace stands, by the plan that the workers follow."""
    (row,) = await database.fetch(WARMED)
    return Standing(plan=await read_plan(database), day=row["day"], mails=row["mails"], warmed=row["warmed"])


async def read_plan(database: Database) -> Plan:
    """Return the plan that the workers follow."""
    (row,) = await database.fetch(READ_PLAN)
    return Plan(**row)


class Shares(msgspec.Struct, frozen=True):
    """What providers were let have of a day: how many of the mails for each, and the seconds until the next day begins."""

    day: date | None
    granted: Mapping[str, int]
    wait: int = 0


async def share(database: Database, wanted: Mapping[str, int]) -> Shares:
    """Count so many mails to each provider against its share of the day; return how many of them it has room for.

    `day` is None where providers have no shares, and all mails may go.
    """
    if not wanted or not await database.fetchval("select provider_most is not null from newsletter.pace"):
        return Shares(None, wanted)
    async with transaction(database) as connection:
        rows = await connection.fetch(READ_SHARES, sorted(wanted))
        if not rows:
            return Shares(None, wanted)
        granted = {row["provider"]: min(row["room"], wanted[row["provider"]]) for row in rows}
        day: date = rows[0]["day"]
        await connection.execute(COUNT_SHARES, day, list(granted), list(granted.values()))
        return Shares(day, granted, await connection.fetchval(NEXT_DAY))


async def give_back(database: Database, shares: Shares, unsent: Mapping[str, int]) -> None:
    """Take mails that weren't attempted back from the shares of their providers, one by one: two locks could meet others."""
    if shares.day is not None:
        for provider, mails in unsent.items():
            await database.execute(COUNT_SHARES, shares.day, [provider], [-mails])
