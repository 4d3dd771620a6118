"""Read what the site serves of one tool or review from each view's tables, at the view's own checkpoint."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection

from events.log import ids
from events.log.reads import Reads
from projections import hours
from projections.engine.window import dropped_positions
from projections.registry import PROJECTIONS, named

POSITION = "select case when $1::timestamptz is null then h.position else log.position_at($1) end from log.head h"

TIME_OF = "select log.time_of($1)"

CARDS_TALLY = named("""
select c.position, coalesce(y.ship, 0) as ship, coalesce(y.skip, 0) as skip
from {cards}.checkpoint c left join {cards}.tallies y on y.tool = $1
""")

# What the log gives at a position: the sum of every change up to there, as `history.read_changes` found them.
LOG_TALLY = """
select count(*) filter (where plus = 'ship') - count(*) filter (where minus = 'ship') as ship,
       count(*) filter (where plus = 'skip') - count(*) filter (where minus = 'skip') as skip
from pg_temp.changes
where position <= $1 and position <> all($2::bigint[])
"""

CARD = named("""
select c.position as as_of, t.*,
       (select jsonb_object_agg(lower(p.persona), jsonb_build_array(p.persona, p.score, p.verdict, p.take))
        from {cards}.panel p where p.tool = $1)::text as panel
from {cards}.checkpoint c left join {cards}.tools t on t.tool = $1
""")

# The last event that changed how a tool is named on the cards of those that it succeeds.
NAMED_AT = """
select coalesce(max(e.position), 0) from log.recorded_events e
where e.stream = $1 and e.type in ('ToolAdded', 'ToolRenamed', 'ToolListed', 'ToolUnlisted')
  and e.position <= $2 and e.position <> all($3::bigint[])
"""

REVIEW = named("""
select c.position as as_of, r.* from {reviews}.checkpoint c left join {reviews}.reviews r on r.review = $1
""")


class ServedTally(msgspec.Struct, frozen=True):
    """A tally as a view serves it, and as the log gives it (`right`), both at the view's position."""

    view: str
    position: int
    ship: int
    skip: int
    right: tuple[int, int]


class ServedRow(msgspec.Struct, frozen=True):
    """A view's row about one thing, None without one, at the view's position."""

    view: str
    position: int
    row: Mapping[str, Any] | None


async def position_of(connection: Reads, time: datetime | None) -> int:
    """Return the position of the log at a time; of its head without one."""
    position: int = await connection.fetchval(POSITION, time)
    return position


async def dropped_of(connection: "Connection[Any]", view: str) -> Sequence[int]:
    """Return the positions that a view passes over."""
    return await dropped_positions(connection, next(p for p in PROJECTIONS if p.name == view))


async def tallies(connection: "Connection[Any]", tool: str, time: datetime | None) -> list[ServedTally]:
    """Return a tool's tally from each view that serves one: cards and hours; at a time in the past, hours alone.

    Compares them with the changes that the connection holds since `history.read_changes`.

    Who is disqualified now counts nowhere now, so the hours' corrected tally of now must be the counted one, unless an event
    was passed over.
    """
    dropped = {view: await dropped_of(connection, view) for view in ("cards", "hours")}
    served: list[tuple[str, int, int, int]] = []
    if time is None:
        row = await connection.fetchrow(CARDS_TALLY, tool)
        assert row is not None  # noqa: S101 - the checkpoint has one row
        served.append(("cards", row["position"], row["ship"], row["skip"]))
    for corrected in (False, True) if time is None and not dropped["hours"] else (False,):
        tally = await hours.as_of(connection, tool, time, corrected=corrected)
        served.append(("hours", tally.position, tally.ship, tally.skip))
    rights = {
        (view, position): await _right(connection, position, dropped[view])
        for view, position in dict.fromkeys(one[:2] for one in served)
    }
    return [ServedTally(*one, right=rights[one[:2]]) for one in dict.fromkeys(served)]


async def _right(connection: "Connection[Any]", position: int, dropped: Sequence[int]) -> tuple[int, int]:
    row = await connection.fetchrow(LOG_TALLY, position, dropped)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["ship"], row["skip"]


async def card(connection: "Connection[Any]", tool: str) -> ServedRow:
    """Return a tool's row of the cards, its judgements under `panel` by lower-case persona."""
    return _served("cards", await connection.fetchrow(CARD, tool), "tool")


async def named_at(connection: "Connection[Any]", tool: str, position: int) -> int:
    """Return the last position up to one at which the name or listing of a tool changed, for the cards; 0 if none did."""
    found: int = await connection.fetchval(NAMED_AT, ids.stream_of(tool), position, await dropped_of(connection, "cards"))
    return found


async def review(connection: "Connection[Any]", review: str) -> ServedRow:
    """Return a review's row, sealed texts included."""
    return _served("reviews", await connection.fetchrow(REVIEW, review), "review")


def _served(view: str, row: Any, key: str) -> ServedRow:
    values = dict(row)
    position = values.pop("as_of")
    if "panel" in values:
        values["panel"] = msgspec.json.decode(values["panel"] or "{}")
    return ServedRow(view, position, values if values[key] is not None else None)
