"""What webhooks say: the messages of a window of the log, a function of the log alone.

First a window is planned: a line a message, small however much happened. Then the lines are written out, some at a time. No
message names a voter, an author or a reader, or holds anything sealed.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from asyncpg import Connection

from events.catalog import Tool, evolve
from events.log import ids, store
from events.log.event import Recorded, fold
from events.registry import REGISTRY
from events.reviews import ReviewSubmitted
from events.voters import CorrectionRecorded
from projections import hours
from projections.cards import Panel, panel
from projections.registry import named
from projections.tally import Community, Tally, community
from services.webhooks.spans import BIN, Window

Kind = Literal["verdict.changed", "settled.changed", "correction.made", "review.waits", "issue.sent"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Streams: TypeAlias = Mapping[str, Sequence[Recorded[Any]]]
"""All events of some streams, in order, by the ids that name them."""

# Each verdict that is another after a span than before it, with the first change of it there and the last.
READ_VERDICTS: Final = named(f"""
select s.tool, s.kind, s.first, s.position, s.recorded_at
from (
    select v.tool, v.kind, min(v.position) as first, max(v.position) as position, max(v.recorded_at) as recorded_at,
           (array_agg(v.before order by v.position))[1] as before, (array_agg(v.after order by v.position desc))[1] as after
    from {{verdicts}}.verdicts v
    where v.position > $1 and v.position <= $2
    group by {BIN.format("v.recorded_at")}, v.tool, v.kind
) s
where s.before is distinct from s.after
""")  # noqa: S608 - constants
READ_REVIEWS: Final = f"""
select e.data->>'review' as review, max(e.position) as position, max(e.recorded_at) as recorded_at,
       (array_agg(e.type order by e.position desc))[1] as type
from log.other_events e
where e.position > $1 and e.position <= $2 and e.type in ('ReviewSubmitted', 'ReviewEdited', 'ReviewReported')
group by {BIN.format("e.recorded_at")}, 1
"""  # noqa: S608 - constants
READ_CORRECTIONS: Final = """
select e.position, e.recorded_at, e.data->>'correction' as correction from log.other_events e
where e.position > $1 and e.position <= $2 and e.type = 'CorrectionRecorded'
"""
READ_ISSUES: Final = """
select e.position, e.recorded_at, e.data->>'issue' as issue, e.data::text as data from log.other_events e
where e.position > $1 and e.position <= $2 and e.type = 'IssueSent'
"""
_WAITS: Final = {"ReviewSubmitted": "submitted", "ReviewEdited": "edited", "ReviewReported": "reported"}

_encoder: Final = msgspec.json.Encoder()


class Planned(NamedTuple):
    """A message that is to be written: where, what about, and what its kind needs besides. They sort by the first four."""

    position: int
    kind: Kind
    of: str
    subject: str
    recorded_at: datetime
    detail: Any = None


class Message(msgspec.Struct, frozen=True):
    """A message as it is sent: its place in the log, its kind, what tells it from others of the position, and its body."""

    position: int
    kind: Kind
    subject: str
    recorded_at: datetime
    body: bytes

    def id_for(self, subscription: str) -> str:
        """Return the message's id for a subscription: the same whenever it is sent, and another after the log went back."""
        told = "\n".join((subscription, str(self.position), self.recorded_at.isoformat(), self.kind, self.subject))
        return f"msg_{urlsafe_b64encode(blake2b(told.encode(), digest_size=15).digest()).decode('ascii')}"


async def plan(connection: "Connection[Any]", window: Window) -> list[Planned]:
    """Return the messages of a window in their order. Run it in one snapshot, whose views have the window."""
    span = (window.after, window.until)
    planned = []
    for row in await connection.fetch(READ_VERDICTS, *span):
        kind: Kind = "settled.changed" if row["kind"] == "settled" else "verdict.changed"
        planned.append(Planned(row["position"], kind, row["kind"], row["tool"], row["recorded_at"], row["first"]))
    for row in await connection.fetch(READ_REVIEWS, *span):
        planned.append(Planned(row["position"], "review.waits", "", row["review"], row["recorded_at"], _WAITS[row["type"]]))
    for row in await connection.fetch(READ_CORRECTIONS, *span):
        planned.append(Planned(row["position"], "correction.made", "", row["correction"], row["recorded_at"]))
    for row in await connection.fetch(READ_ISSUES, *span):
        sent = msgspec.json.decode(row["data"])
        planned.append(Planned(row["position"], "issue.sent", "", row["issue"], row["recorded_at"], sent))
    return sorted(planned, key=lambda one: one[:4])


async def write(connection: "Connection[Any]", planned: Sequence[Planned]) -> list[Message | None]:
    """Return planned messages written out; None for one about what this release doesn't know."""
    reviews = await _streams(connection, (one.subject for one in planned if one.kind == "review.waits"))
    corrections = await _streams(connection, (one.subject for one in planned if one.kind == "correction.made"))
    about = {**reviews, **corrections}
    tools = await _streams(connection, (tool for one in planned for tool in _tools_of(one, about)))
    written = []
    for one in planned:
        known = {tool: found for tool in _tools_of(one, about) if (found := _tool(tools[tool], one.position)) is not None}
        data = await _data(connection, one, about, tools, known)
        body = data and {"type": one.kind, "timestamp": one.recorded_at, "data": {"position": one.position, **data}}
        place = (one.position, one.kind, f"{one.of} {one.subject}", one.recorded_at)
        written.append(Message(*place, _encoder.encode(body)) if body else None)
    return written


async def _data(
    connection: "Connection[Any]", one: Planned, about: Streams, tools: Streams, known: Mapping[str, Tool]
) -> dict[str, Any] | None:
    if one.kind == "issue.sent":
        return {name: one.detail[name] for name in ("issue", "edition", "planned", "accepted")}
    if one.kind == "correction.made":
        return _correction(_at(about[one.subject], one.position), known)
    if not known:
        return None
    (tool,) = known.values()
    if one.kind == "review.waits":
        return {"review": one.subject, "tool": tool.slug, "why": one.detail}
    before: Any
    after: Any
    if one.of == "panel":
        before, after = _judged(_tool(tools[one.subject], one.detail - 1)), _judged(tool)
    else:
        before, after = [await _community(connection, one.subject, at) for at in (one.detail - 1, one.position)]
    of = {"of": one.of} if one.kind == "verdict.changed" else {}
    return {"tool": tool.slug, "name": tool.description.name, **of, "before": before, "after": after}


async def _streams(connection: "Connection[Any]", names: Iterable[str]) -> Streams:
    streams = {ids.stream_of(name): name for name in names if ids.is_id(name)}
    found: dict[str, list[Recorded[Any]]] = {name: [] for name in streams.values()}
    for row in await connection.fetch(store.READ_WHOLES, list(streams)) if streams else ():
        found[streams[row["stream"]]].append(store.decode(REGISTRY, row))
    return found


def _at(events: Sequence[Recorded[Any]], position: int) -> Any:
    """Return the event of a stream at a position; None if it isn't there."""
    return next((recorded.event for recorded in events if recorded.position == position), None)


def _reviewed(events: Sequence[Recorded[Any]]) -> str | None:
    """Return the tool that a review's stream is about."""
    return next((recorded.event.tool for recorded in events if isinstance(recorded.event, ReviewSubmitted)), None)


def _tools_of(one: Planned, about: Streams) -> Iterable[str]:
    """Return the ids of the tools that a message names."""
    if one.kind == "review.waits":
        return filter(None, [_reviewed(about[one.subject])])
    if one.kind == "correction.made":
        return [tool.tool for tool in _at(about[one.subject], one.position).tools]
    if one.kind == "issue.sent":
        return []
    return [one.subject]


def _tool(events: Sequence[Recorded[Any]], position: int) -> Tool | None:
    """Return a tool as of a position."""
    return fold(evolve, (recorded for recorded in events if recorded.position <= position))


async def _community(connection: "Connection[Any]", tool: str, position: int) -> Community:
    """Return a tool's tally as of a position, as cards show it."""
    tally = await hours.at(connection, tool, position)
    return community(tally.ship, tally.skip) if tally else community(0, 0)


def _judged(tool: Tool | None) -> dict[str, Any]:
    """Return a tool's panel without its reviews."""
    said: Panel = panel((j.persona, j.score, j.verdict, j.take) for j in (tool.panel.values() if tool else ()))
    return {"verdict": said.verdict, "ship": said.ship, "skip": said.skip, "ship_percent": said.ship_percent}


def _correction(made: CorrectionRecorded, known: Mapping[str, Tool]) -> dict[str, Any]:
    changed = [
        {"tool": known[tool.tool].slug, "before": _counts(tool.before), "after": _counts(tool.after)}
        for tool in made.tools
        if tool.tool in known
    ]
    told = {"action": made.action, "reason": made.reason, "voters": made.voters, "votes": made.votes}
    return {**told, "tools": changed}


def _counts(tally: Tally) -> dict[str, int]:
    return {"ship": tally[0], "skip": tally[1]}
