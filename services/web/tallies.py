"""Tallies: as of a time, over time, and live as they change.

*Counted* is what the site said at the time; *corrected* leaves out the voters who are disqualified now.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from projections import hours
from projections.hours import Every
from projections.settled import CommunityVerdict, Interval, settled, settled_interval
from projections.tally import Community, community, percent
from services.clock import now
from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, NotFound
from services.web.http.queries import Query, Time, listed
from services.web.live import EVENT_STREAM
from services.web.site import Call

Basis = Literal["counted", "corrected"]

MOST_POINTS: Final = 1000
DEFAULT_DAYS: Final = 30
MOST_TOOLS: Final = 50
LENGTHS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


class TallyQuery(Query, frozen=True, kw_only=True):
    """The time to report on (default: now), and whether to exclude voters disqualified since."""

    as_of: Time | None = None
    corrected: bool = False


class TallyAnswer(Community, frozen=True):
    """A tool's tally at a time; `position` is that of the log at which it holds."""

    tool: Slug
    as_of: datetime
    position: int
    basis: Basis


class HistoryQuery(Query, frozen=True, kw_only=True):
    """Which periods: those that begin before `to` (default: now) and end after `from` (default: the last 30 days)."""

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
    settled: CommunityVerdict | None
    settled_interval: Interval | None


class History(msgspec.Struct, frozen=True):
    """A tool's tally over time; the period still running stands as it does now."""

    tool: Slug
    every: Every
    basis: Basis
    points: list[Point]


class LiveQuery(Query, frozen=True, kw_only=True):
    """The tools to watch."""

    tool: Annotated[list[Slug], Meta(min_length=1, max_length=MOST_TOOLS)]


async def read_history(call: Call, query: HistoryQuery) -> History:
    """Return the tally of the tool in the path at the end of each period, at most 1,000. Raises BadInput, ToolNotListed."""
    start, end = _span(query, now())
    tool = await _tool(call)
    changes = await hours.changes(call.site.reading, tool, start, end, query.every, corrected=query.corrected)
    ship, skip = changes.get(None, (0, 0))
    points = []
    while start < end:
        more_ship, more_skip = changes.get(start, (0, 0))
        ship, skip, start = ship + more_ship, skip + more_skip, start + LENGTHS[query.every]
        points.append(_point(start, ship, skip))
    return History(call.path["tool"], query.every, basis_of(query.corrected), points)


def _point(at: datetime, ship: int, skip: int) -> Point:
    total = ship + skip
    return Point(at, ship, skip, total, percent(ship, total), settled(ship, skip), settled_interval(ship, skip))


@endpoint("GET", "/v1/tools/{tool}/tally", takes=TallyQuery, gives=TallyAnswer, statuses=(200, 301, 304))
async def get_tally(call: Call, query: TallyQuery) -> Answer:
    """Return a tool's tally as of a time, as it was counted then or corrected since."""
    present = now()
    time = None if query.as_of is None else _utc("as_of", query.as_of)
    if time is not None and time > present:
        raise BadInput.at("/as_of", "is in the future")
    found = await hours.as_of(call.site.reading, await _tool(call), time, corrected=query.corrected)
    fields = msgspec.structs.asdict(community(found.ship, found.skip))
    answer = TallyAnswer(
        **fields, tool=call.path["tool"], as_of=time or present, position=found.position, basis=basis_of(query.corrected)
    )
    return listed(call, answer)


@endpoint("GET", "/v1/tools/{tool}/tally/history", takes=HistoryQuery, gives=History, statuses=(200, 301, 304))
async def get_history(call: Call, query: HistoryQuery) -> Answer:
    """Return a tool's tally at the end of each hour, day or week (from Monday, UTC), for at most 1,000 of them."""
    return listed(call, await read_history(call, query))


@endpoint("GET", "/v1/tallies/live", takes=LiveQuery, gives=EVENT_STREAM, problems=(404,))
async def get_live_tallies(call: Call, query: LiveQuery) -> Answer:
    """Watch tallies change, as Server-Sent Events: `event: tally`, its data the community object and its `tool`.

    All tools asked for are sent at once, then each when it changes, at most once a second. With `Last-Event-ID`, which browsers
    send by themselves, only what changed since.
    """
    site = call.site
    found = await site.cards.find_any(query.tool)
    if len(found) < len(set(query.tool)):
        raise NotFound("No listed tool has one of these slugs.")
    return site.live.join(found, _last_id(call.head.get(b"last-event-id", b"")), call.network)


def _last_id(sent: bytes) -> tuple[int, int] | None:
    """Return the position and the number of rewinds in an event's id; None if it isn't one of ours."""
    position, point, rewinds = sent.partition(b".")
    if len(sent) < 20 and position.isdigit() and (rewinds.isdigit() or not point):
        return int(position), int(rewinds or 0)
    return None


async def _tool(call: Call) -> str:
    """Return the id of the tool in the path. Raises ToolNotListed."""
    return (await call.site.cards.listed(call.path["tool"])).tool


def basis_of(corrected: bool) -> Basis:
    """Return the name of a basis."""
    return "corrected" if corrected else "counted"


def _utc(name: str, time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise BadInput.at(f"/{name}", "is out of range") from None


def _span(query: HistoryQuery, present: datetime) -> tuple[datetime, datetime]:
    """Return the beginning of the first period and the end of the last. Raises BadInput."""
    to = present if query.to is None else min(_utc("to", query.to), present)
    try:
        from_ = _begin(to, "day") - timedelta(days=DEFAULT_DAYS - 1) if query.from_ is None else _utc("from", query.from_)
        start = _begin(from_, query.every)
    except OverflowError:
        raise BadInput.at("/to", "is out of range") from None
    if from_ > to:
        raise BadInput.at("/from", "is after `to`, or in the future")
    points = _points(start, to, query.every)
    if points > MOST_POINTS:
        raise BadInput.at("/every", _too_many(points, from_, to))
    return start, start + points * LENGTHS[query.every]


def _points(start: datetime, to: datetime, every: Every) -> int:
    """Return how many periods begin from `start` on and before `to`."""
    return -((start - to) // LENGTHS[every])


def _too_many(points: int, from_: datetime, to: datetime) -> str:
    fits: list[Every] = [every for every in ("day", "week") if _points(_begin(from_, every), to, every) <= MOST_POINTS]
    advice = f"every={fits[0]} fits" if fits else "no period fits: ask for a shorter time"
    return f"would be {points} points, over {MOST_POINTS}; {advice}"


def _begin(time: datetime, every: Every) -> datetime:
    """Return the beginning of the period that holds a time."""
    hour = time.replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return hour
    day = hour.replace(hour=0)
    return day if every == "day" else day - timedelta(days=day.weekday())
