"""Tallies of the past: as of a time, and their history. *Counted* is as the site said then; *corrected* leaves out those voters
who are disqualified now.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from projections import hours
from projections.hours import Every
from projections.tally import Community, community, percent
from services.clock import now
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, NotFound
from services.web.http.queries import Query, Time, listed
from services.web.site import Call

Basis = Literal["counted", "corrected"]

MOST_POINTS: Final = 1000
DEFAULT_DAYS: Final = 30
LENGTHS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


class TallyQuery(Query, frozen=True, kw_only=True):
    """As of when (now, if not said), and whether without the voters who are disqualified now."""

    as_of: Time | None = None
    corrected: bool = False


class TallyAnswer(Community, frozen=True):
    """A tool's tally at a time; `position` is that of the log which it is true of."""

    tool: Slug
    as_of: datetime
    position: int
    basis: Basis


class HistoryQuery(Query, frozen=True, kw_only=True):
    """Which periods: those that begin before `to` (now) and end after `from` (the last 30 days)."""

    every: Every = "day"
    from_: Time | None = msgspec.field(name="from", default=None)
    to: Time | None = None
    corrected: bool = False


class Point(msgspec.Struct, frozen=True):
    """The tally at the end of a period; `at` is when the next one begins."""

    at: datetime
    ship: int
    skip: int
    total: int
    ship_percent: int | None


class History(msgspec.Struct, frozen=True):
    """A tool's tally over time; the period still running stands as it does now."""

    tool: Slug
    every: Every
    basis: Basis
    points: list[Point]


@endpoint("GET", "/v1/tools/{tool}/tally", takes=TallyQuery, gives=TallyAnswer, statuses=(200, 304), problems=(404, 503))
async def tally(call: Call, query: TallyQuery) -> Answer:
    """Tell a tool's tally as of a time, as it was counted then or corrected since."""
    present = now()
    time = None if query.as_of is None else _utc("as_of", query.as_of)
    if time is not None and time > present:
        raise BadInput.at("/as_of", "is in the future")
    await call.site.reach(query.after)
    found = await hours.as_of(call.site.database, await _tool(call), time, corrected=query.corrected)
    fields = msgspec.structs.asdict(community(found.ship, found.skip))
    answer = TallyAnswer(
        **fields, tool=call.path["tool"], as_of=time or present, position=found.position, basis=_basis(query.corrected)
    )
    return listed(call, answer)


@endpoint("GET", "/v1/tools/{tool}/tally/history", takes=HistoryQuery, gives=History, statuses=(200, 304), problems=(404, 503))
async def history(call: Call, query: HistoryQuery) -> Answer:
    """Tell a tool's tally at the end of each hour, day or week (from Monday, UTC), for at most 1,000 of them."""
    start, end = _span(query, now())
    await call.site.reach(query.after)
    tool = await _tool(call)
    changes = await hours.changes(call.site.database, tool, start, end, query.every, corrected=query.corrected)
    ship, skip = changes.get(None, (0, 0))
    points = []
    while start < end:
        more_ship, more_skip = changes.get(start, (0, 0))
        ship, skip, start = ship + more_ship, skip + more_skip, start + LENGTHS[query.every]
        points.append(Point(start, ship, skip, ship + skip, percent(ship, ship + skip)))
    return listed(call, History(call.path["tool"], query.every, _basis(query.corrected), points))


async def _tool(call: Call) -> str:
    """Give the id of the listed tool in the path; NotFound."""
    slug = call.path["tool"]
    kept = await call.site.cards.one(slug)
    if kept is None:
        raise NotFound("No listed tool has this slug.")
    return kept.tool


def _basis(corrected: bool) -> Basis:
    return "corrected" if corrected else "counted"


def _utc(name: str, time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise BadInput.at(f"/{name}", "is beyond the years that can be told") from None


def _span(query: HistoryQuery, present: datetime) -> tuple[datetime, datetime]:
    """Give the beginning of the first period and the end of the last; BadInput."""
    to = present if query.to is None else min(_utc("to", query.to), present)
    try:
        from_ = _begin(to, "day") - timedelta(days=DEFAULT_DAYS - 1) if query.from_ is None else _utc("from", query.from_)
        start = _begin(from_, query.every)
    except OverflowError:
        raise BadInput.at("/to", "is beyond the years that can be told") from None
    if from_ > to:
        raise BadInput.at("/from", "is after `to`, or in the future")
    points = _points(start, to, query.every)
    if points > MOST_POINTS:
        raise BadInput.at("/every", _too_many(points, from_, to))
    return start, start + points * LENGTHS[query.every]


def _points(start: datetime, to: datetime, every: Every) -> int:
    """Count the periods that begin at `start` and later, before `to`."""
    return -((start - to) // LENGTHS[every])


def _too_many(points: int, from_: datetime, to: datetime) -> str:
    fits: list[Every] = [every for every in ("day", "week") if _points(_begin(from_, every), to, every) <= MOST_POINTS]
    advice = f"every={fits[0]} fits" if fits else "no period fits: ask for a shorter time"
    return f"would be {points} points, over {MOST_POINTS}; {advice}"


def _begin(time: datetime, every: Every) -> datetime:
    """Give the beginning of the period that holds a time."""
    hour = time.replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return hour
    day = hour.replace(hour=0)
    return day if every == "day" else day - timedelta(days=day.weekday())
