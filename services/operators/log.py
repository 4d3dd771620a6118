"""The operators' log: what operators did, newest first, from the log's events and the acts beside them.

Every event that an operator caused names that operator in `meta`, which partial indexes hold (migration 0046), so a page costs
as much in a log of millions. A page goes on at a place: a position, and among the acts of one position their number.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from events.log import ids
from projections.registry import named
from services.operators.deeds import ACTS as DONE
from services.operators.deeds import LOGGED, TYPES, Kind, tell

Database: TypeAlias = "Pool[Any] | Connection[Any]"

AT_ONCE: Final = 1_000
_PAGES: Final = {
    **dict.fromkeys(("signed-in", "signed-out", "ended-session"), "/ops/sessions"),
    **dict.fromkeys(("waived-mail-check", "took-waiver-back"), "/ops/mail"),
    "resumed-hold": "/ops/holds",
    **dict.fromkeys(DONE["votes"], "/ops/puzzles"),
    **dict.fromkeys(DONE["webhooks"], "/ops/webhooks"),
}
"""The pages that acts lead to; what else is done to the mail or at a shell has none."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COLUMNS: Final = (
    "e.position, e.recorded_at as at, e.meta->>'operator' as operator, e.type, e.data::text as data, e.stream, 0::bigint as act"
)
_EVENT: Final = f"{_COLUMNS} from log.recorded_events e where e.meta ? 'operator'"
_WHOLE: Final = f"{_EVENT} and e.type not in ('VoterDisqualified', 'VoterReinstated', 'BallotsVoided', 'BallotsRestored')"
_NEWEST: Final = "order by e.position desc limit $3"
# Each statement compares whole rows of one index and is ordered by them: no other index can serve it, however rare or frequent
# an operator or a type is.
ALL: Final = f"select {_WHOLE} and e.position < $1 and e.position > $2 {_NEWEST}"
OF_OPERATOR: Final = f"""
select {_WHOLE} and (e.meta->>'operator', e.position) < ($4, $1) and (e.meta->>'operator', e.position) > ($4, $2)
order by e.meta->>'operator' desc, e.position desc limit $3
"""
OF_TYPES: Final = f"""
select {_COLUMNS} from unnest($4::text[]) as t(type) cross join lateral log.newest_operated(t.type, $1, $2, $3) e {_NEWEST}
"""  # noqa: S608
OF_BOTH: Final = f"""
select {_COLUMNS}
from unnest($5::text[]) as t(type) cross join lateral log.newest_operated_by($4, t.type, $1, $2, $3) e {_NEWEST}
"""  # noqa: S608
# What concerns one thing is its streams, those of its owner beside them, and there also what a correction is made of.
OF_THING: Final = f"""
select e.* from (
    select {_COLUMNS} from log.between_streams(log.first_stream($6), log.last_stream($6)) e where e.meta ? 'operator'
    union all
    select {_COLUMNS} from log.of_stream($7) e where $6 is null and e.meta ? 'operator'
) e
where e.position < $1 and e.position > $2 and ($4::text is null or e.operator = $4) and ($5::text[] is null or e.type = any($5))
{_NEWEST}
"""  # noqa: S608
ACTS: Final = """
select a.position, a.at, a.operator, a.kind as type, a.about, a.subject, a.reason, a.times, a.last_at, a.id as act
from operators.acts a
where (a.position, a.id) < ($1, $2) and a.position >= $3 and ($5::text is null or a.operator = $5)
  and ($6::text[] is null or a.subject = any($6)) and ($7::timestamptz is null or coalesce(a.last_at, a.at) >= $7)
  and ($8::timestamptz is null or a.at < $8) and (a.kind = any($9::text[]) or (a.kind = any($10::text[]) and a.operator = $11))
order by a.position desc, a.id desc limit $4
"""
TOOLS: Final = named("select tool, name, slug from {cards}.tools where tool = any($1::text[])")
TOOL_OF_SLUG: Final = named("select tool from {cards}.tools where slug = $1")
REVIEWED: Final = """
select stream, data->>'tool' as tool from log.recorded_events where stream = any($1::uuid[]) and version = 1
"""
OPERATORS: Final = """
select name from (select o.name from log.operators() o limit $1) n
union select operator from operators.acts order by 1
"""


class Place(NamedTuple):
    """Where a page goes on: below a position, or among its acts below one of them."""

    position: int
    act: int

    def __str__(self) -> str:
        return f"{self.position}.{self.act}" if self.act else str(self.position)


TOP: Final = Place(2**63 - 2, 0)
PLACE: Final = r"^[0-9]{1,18}(\.[0-9]{1,18})?$(?!\n)"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of the operators' log is asked for: `kinds` are those to show, `own` those of `viewer`'s doing alone.

    `about` is a tool's slug, an id, or a stream; `since` counts, `until` doesn't.
    """

    kinds: frozenset[Kind]
    own: frozenset[Kind] = frozenset()
    viewer: str = ""
    operator: str | None = None
    about: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator did: the log's position then, the kind, and in words what and why. `type` is the event's, or the act's.

    `link` leads to the thing on this site; `place` is where a page goes on below it.
    """

    position: int
    at: datetime
    operator: str
    kind: Kind
    type: str
    what: str
    reason: str | None
    subject: str
    link: str | None
    place: str


class _Thing(NamedTuple):
    """What `about` leads to: an owner's id, or a stream, or nothing."""

    owner: str | None
    stream: UUID | None


def place_of(text: str) -> Place:
    """Return the place that a text spells."""
    position, _, act = text.partition(".")
    return Place(int(position), int(act or 0))


async def read(database: Database, asked: Asked, below: Place, limit: int) -> Sequence[Action]:
    """Return up to `limit` actions below a place, newest first."""
    thing = None if asked.about is None else await _thing(database, asked.about)
    low, high = await _bounds(database, asked)
    events = await _events(database, asked, thing, min(below.position + (below.act > 0), high), low, limit)
    acts = await _acts(database, asked, thing, below, limit)
    found = list(islice(merge(events, acts, key=lambda row: (-row["position"], -row["act"])), limit))
    tools = await _tools(database, [row for row in found if not row["act"]])
    return [_act(row) if row["act"] else _event(row, tools) for row in found]


async def read_all(database: Database, asked: Asked, most: int) -> AsyncIterator[Sequence[Action]]:
    """Yield all actions, newest first, up to `most` of them, some at a time."""
    place = TOP
    while most > 0:
        page = await read(database, asked, place, min(AT_ONCE, most))
        if page:
            yield page
        if len(page) < AT_ONCE:
            return
        most -= len(page)
        place = place_of(page[-1].place)


async def read_operators(database: Database, most: int) -> Sequence[str]:
    """Return the names of those who did something, up to `most` of them."""
    return [row["name"] for row in await database.fetch(OPERATORS, most)][:most]


async def _bounds(database: Database, asked: Asked) -> tuple[int, int]:
    """Return the positions that the times lie at: the last before, and the first after."""
    position_at = "select log.position_at($1::timestamptz - interval '1 microsecond')"
    low = 0 if asked.since is None else await database.fetchval(position_at, asked.since)
    high = TOP.position if asked.until is None else 1 + await database.fetchval(position_at, asked.until)
    return low, high


async def _thing(database: Database, about: str) -> _Thing:
    if ids.is_id(about):
        return _Thing(about, None)
    if _UUID.fullmatch(about):
        return _Thing(None, UUID(about))
    return _Thing(await database.fetchval(TOOL_OF_SLUG, about), None)


async def _events(
    database: Database, asked: Asked, thing: _Thing | None, below: int, above: int, limit: int
) -> Sequence[Mapping[str, Any]]:
    types = None if asked.kinds >= LOGGED else [type_ for kind in asked.kinds for type_ in TYPES[kind]]
    if types == []:
        return []
    bounds = (below, above, limit)
    if thing is not None:
        return await database.fetch(OF_THING, *bounds, asked.operator, types, *thing)
    if types is None:
        return await database.fetch(*((ALL, *bounds) if asked.operator is None else (OF_OPERATOR, *bounds, asked.operator)))
    if asked.operator is None:
        return await database.fetch(OF_TYPES, *bounds, types)
    return await database.fetch(OF_BOTH, *bounds, asked.operator, types)


async def _acts(
    database: Database, asked: Asked, thing: _Thing | None, below: Place, limit: int
) -> Sequence[Mapping[str, Any]]:
    all_types, own_types = (
        [type_ for kind in kinds & DONE.keys() for type_ in DONE[kind]] for kinds in (asked.kinds, asked.own)
    )
    if not all_types and not own_types:
        return []
    whose = (all_types, own_types, asked.viewer)
    bounds = (below.position, below.act, 0, limit)
    about = None if thing is None else [name for name in (asked.about, thing.owner) if name is not None]
    return await database.fetch(ACTS, *bounds, asked.operator, about, asked.since, asked.until, *whose)


async def _tools(database: Database, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, tuple[str, str]]:
    """Return name and slug of the tools that events are about, by the tool's id, and by the stream of a review."""
    reviewed = await database.fetch(REVIEWED, [row["stream"] for row in rows if row["type"].startswith("Review")])
    of_review = {str(row["stream"]): row["tool"] for row in reviewed if row["tool"] is not None}
    told = [msgspec.json.decode(row["data"]).get("tool") for row in rows]
    tools = {
        row["tool"]: (row["name"], row["slug"])
        for row in await database.fetch(TOOLS, [*of_review.values(), *filter(None, told)])
    }
    return tools | {stream: tools[tool] for stream, tool in of_review.items() if tool in tools}


def _event(row: Mapping[str, Any], tools: Mapping[str, tuple[str, str]]) -> Action:
    data: Mapping[str, Any] = msgspec.json.decode(row["data"])
    name, slug = tools.get(data.get("tool", ""), tools.get(str(row["stream"]), (None, None)))
    kind, what, reason = tell(row["type"], data, (data.get("name") if row["type"].startswith("Tool") else None) or name)
    return Action(
        position=row["position"],
        at=row["at"],
        operator=row["operator"],
        kind=kind,
        type=row["type"],
        what=what,
        reason=reason,
        subject=str(row["stream"]),
        link=_link(row["type"], kind, data, slug),
        place=str(row["position"]),
    )


def _act(row: Mapping[str, Any]) -> Action:
    kind, what, reason = tell(row["type"], row, None)
    return Action(
        position=row["position"],
        at=row["at"],
        operator=row["operator"],
        kind=kind,
        type=row["type"],
        what=what,
        reason=reason or None,
        subject=row["subject"],
        link=_PAGES.get(row["type"]),
        place=str(Place(row["position"], row["act"])),
    )


def _link(type_: str, kind: Kind, data: Mapping[str, Any], slug: str | None) -> str | None:
    """Return the page of the thing that an event is about; None where it has no page."""
    if "cohort" in data:
        return f"/ops/integrity/{data['cohort']}"
    if type_ == "CorrectionRecorded":
        return "/corrections"
    if kind == "quarantine":
        return "/ops/quarantine"
    return None if slug is None or type_ == "ToolUnlisted" else f"/tools/{slug}"
