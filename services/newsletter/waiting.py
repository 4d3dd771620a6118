"""What the mails of an issue wait for, and how long the next issue takes: in words for operators."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from projections.registry import named
from services.newsletter import pace
from services.newsletter.pace import Database, Forecast, Standing

PERIOD_DAYS: Final = {"weekly": 7, "monthly": 28}
"""The days until the next issue of an edition, at the least."""
TURN: Final = "their turn"
FASTER: Final = "raise BALLOTPRESS_MAILS_PER_DAY or BALLOTPRESS_WARM_UP if your relay's reputation allows it"

# Each mail that waits has one reason: a provider that is held, its own, its reader's hour, or that its turn hasn't come.
WAITING: Final = """
select coalesce(h.reason, m.reason, case when m.not_before > now() then 'hour' else 'turn' end) as reason,
       coalesce(h.reason, m.reason) is null as is_paced, count(*) as mails, max(m.not_before) as until
from newsletter.mails m
left join lateral (
    select case when bool_or(h.provider = '') then 'the relay' else max(h.provider) end || ', which is held' as reason
    from newsletter.holds h where h.held_at is not null and h.provider in ('', m.provider)
) h on true
where m.issue = $1 and m.state in ('pending', 'deferred') group by 1, 2 order by 3 desc
"""
# Readers who may be mailed; those that an issue has nothing for are counted too.
AUDIENCE: Final = named("""
select count(*) from {subscribers}.subscribers s
where s.status = 'confirmed' and s.suppressed is null and s.frequency = $1
  and (s.paused_until is null or s.paused_until <= current_date)
""")
LAST_READERS: Final = """
select i.planned from newsletter.issues i
where i.edition = 'weekly' and i.state in ('planned', 'settled') order by i.number desc limit 1
"""
# A digest that the pace holds isn't late: its time begins with the day, or when the window opens.
OVERDUE: Final = """
select coalesce(extract(epoch from now() - least(
    (select min(m.not_before) from newsletter.mails m
     where m.issue = 0 and m.state in ('pending', 'deferred') and m.not_before <= now()),
    (select case when p.opens = p.closes and not g.is_capped then min(m.not_before)
                 else greatest(min(m.not_before), (g.day + make_interval(hours => p.opens)) at time zone p.zone) end
     from newsletter.gate g cross join newsletter.pace p
     join newsletter.mails m on m.issue > 0 and m.state in ('pending', 'deferred') and m.not_before <= now()
     where g.is_open and (not g.is_capped or g.room > 0) group by g.day, g.is_capped, p.opens, p.closes, p.zone))), 0)::float8
"""


class Waiting(msgspec.Struct, frozen=True):
    """How many mails of an issue wait, and what for."""

    mails: int
    reason: str


async def read_waiting(database: Database, issue: int) -> list[Waiting]:
    """Return what an issue's mails wait for, the most first; nothing if none waits."""
    rows = await database.fetch(WAITING, issue)
    if not rows:
        return []
    standing = await pace.stand(database)
    (gate,) = await database.fetch(pace.READ_GATE)
    (schedule,) = await database.fetch("select now() as at, paused_at, held from newsletter.schedule")
    return [Waiting(row["mails"], _said(row, gate, standing, schedule)) for row in rows]


def _said(row: Any, gate: Any, standing: Standing, schedule: Any) -> str:
    if schedule["paused_at"] is not None:
        return f"`digest resume`: the newsletter is {'held: ' + schedule['held'] if schedule['held'] else 'paused'}"
    if not row["is_paced"]:
        return str(row["reason"])
    if row["reason"] == "hour":
        return f"their readers' own hour, the last of them at {_utc(row['until'])}"
    if gate["is_capped"] and not gate["room"]:
        days = standing.forecast(row["mails"]).days - 1
        return f"the next day: {standing.mails:,} of today's {standing.cap or 0:,} digests were sent; {_days(days)} more to go"
    if not gate["is_open"]:
        return f"the sending hours, which begin at {_utc(opens_after(standing.plan, schedule['at']))}"
    return TURN


def opens_after(plan: pace.Plan, at: datetime) -> datetime:
    """Return when a window that is shut opens, to the quarter of an hour: no zone's clock stands otherwise."""
    found = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(4 * 49):
        found += timedelta(minutes=15)
        if plan.is_open(found):
            break
    return found


async def foresee(database: Database, edition: str) -> tuple[int, Forecast, Forecast]:
    """Return how many readers the next issue of an edition has at the most, and how long it takes, also within its period."""
    readers: int = await database.fetchval(AUDIENCE, edition)
    standing = await pace.stand(database)
    return readers, standing.forecast(readers), standing.forecast(readers, PERIOD_DAYS[edition])


def said_forecast(readers: int, whole: Forecast, period: Forecast) -> str | None:
    """Return a sentence on how long an issue takes; None where it takes no more than its day."""
    if whole.days <= 1:
        return None
    if not period.left:
        return f"This issue will take {_days(whole.days)}, at the pace that is set"
    return (
        f"This issue won't reach {period.left:,} of {readers:,} readers before the next one comes:"
        f" at the pace that is set it would take {_days(whole.days)}"
    )


async def said_slow(database: Database) -> str | None:
    """Return a sentence on weekly issues that aren't through when the next one comes, by the readers of the last one.

    None if they are, or in a database of an earlier release.
    """
    if not await _has_pace(database):
        return None
    standing = await pace.stand(database)
    if standing.cap is None or not (readers := await database.fetchval(LAST_READERS)):
        return None
    left = standing.forecast(readers, PERIOD_DAYS["weekly"]).left
    if not left:
        return None
    days = _days(standing.forecast(readers).days)
    return f"A weekly issue takes {days} at the pace that is set, so {left:,} of {readers:,} readers would miss it"


async def overdue_seconds(database: Database) -> float:
    """Return how long the first mail has waited that may leave now, in seconds; 0 in a database of an earlier release."""
    if not await _has_pace(database):
        return 0.0
    seconds: float = await database.fetchval(OVERDUE)
    return seconds


async def _has_pace(database: Database) -> bool:
    return await database.fetchval("select to_regclass('newsletter.gate')") is not None


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
