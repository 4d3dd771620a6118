"""The log as it is, for operators: read in order, searched from its end, or one stream from its beginning."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from events.log import ids, store
from events.log.ids import ID
from events.log.store import RecordedRow
from events.registry import REGISTRY
from services.web.event_lines import event_line
from services.web.http.answers import Answer, json_answer
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import page
from services.web.http.problems import NotFound
from services.web.http.queries import Position, Query, next_link
from services.web.operators import show_ops
from services.web.site import Call

_LIMIT: Final = 50
_SPAN: Final = 20_000
_MOST_OF_STREAM: Final = 500
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

StreamName = Annotated[str, Meta(pattern=rf"^{_UUID}$(?!\n)|{ID}")]
"""A stream's uuid, or its owner's id."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The events above the position `after`, of the whole log or of one stream."""

    after: Position = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    stream: StreamName | None = None


class EventsPage(msgspec.Struct, frozen=True):
    """Recorded events in the log's order; `next` is the position to ask for more after, null at the end."""

    items: list[RecordedRow]
    next: int | None


class SearchQuery(Query, frozen=True, kw_only=True):
    """The events below a position (default: the end), of a type, that hold these words."""

    before: Position | None = None
    type: Annotated[str, Meta(max_length=60)] = ""
    words: Annotated[str, Meta(max_length=200)] = ""


class StreamQuery(Query, frozen=True, kw_only=True):
    """The stream to show."""

    stream: StreamName


@endpoint("GET", "/v1/ops/events", by=operator("read"), takes=EventsQuery, gives=EventsPage)
async def get_events(call: Call, query: EventsQuery) -> Answer:
    """Read the log as it is, from a position on."""
    stream = None if query.stream is None else _stream(query.stream)
    rows = await store.read_rows(call.site.database, query.after, query.limit + 1, stream)
    shown = list(rows[: query.limit])
    more = shown[-1].position if len(rows) > query.limit else None
    link = () if more is None else (next_link(call, "after", str(more)),)
    return json_answer(EventsPage(shown, more), headers=link)


@page("/ops/log", SearchQuery, operator("read"))
async def log_page(call: Call, query: SearchQuery) -> Answer:
    """Search the log, newest events first."""
    top = query.before or await call.site.log.head() + 1
    words = query.words.strip() or None
    span = _SPAN if query.type or words else _LIMIT
    rows = await store.search_rows(call.site.database, top, span, query.type or None, words, _LIMIT)
    lowest = rows[-1].position if len(rows) == _LIMIT else max(1, top - span)
    return await show_ops(
        call,
        "ops_log.html",
        "/ops/log",
        lines=[event_line(row) for row in rows],
        query=query,
        types=sorted(REGISTRY.types),
        older=lowest if lowest > 1 else None,
        lowest=lowest,
    )


@page("/ops/log/story", StreamQuery, operator("read"))
async def stream_page(call: Call, query: StreamQuery) -> Answer:
    """Show a stream's events, from its first."""
    stream = _stream(query.stream)
    rows = await store.read_rows(call.site.database, 0, _MOST_OF_STREAM, stream)
    if not rows:
        raise NotFound("There is no event in this stream.")
    lines = [event_line(row) for row in rows]
    is_whole = len(rows) < _MOST_OF_STREAM
    return await show_ops(call, "ops_stream.html", "/ops/log", stream=str(stream), lines=lines, is_whole=is_whole)


def _stream(name: str) -> UUID:
    return ids.stream_of(name) if ids.is_id(name) else UUID(name)
