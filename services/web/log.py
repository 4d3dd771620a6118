"""The log as it is, for operators: read in order, searched from its end, or one stream from its beginning."""

import re
from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from events.log import ids, store
from events.log.ids import ID
from events.log.store import RecordedRow
from events.registry import REGISTRY
from services.web import following
from services.web.event_lines import event_line
from services.web.http.answers import Answer, json_answer
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.negotiation import asks_for
from services.web.http.pages import page
from services.web.http.problems import BadInput, NotFound
from services.web.http.queries import Position, Query, next_link
from services.web.operators import show_ops
from services.web.site import Call

_LIMIT: Final = 50
_SPAN: Final = 20_000
_MOST_OF_STREAM: Final = 500
_TYPE: Final = r"^[A-Za-z]+$(?!\n)"
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

StreamName = Annotated[str, Meta(pattern=rf"^{_UUID}$(?!\n)|{ID}")]
"""A stream's uuid, or its owner's id."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The events above the position `after`, of the whole log or of one stream, of all types or of some.

    `limit` is a page's.
    """

    after: Position = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    stream: StreamName | None = None
    type: Annotated[list[Annotated[str, Meta(pattern=_TYPE, max_length=60)]], Meta(max_length=50)] = []


class EventsPage(msgspec.Struct, frozen=True):
    """Recorded events in the log's order; `next` is the position to ask for more after, null at the end.

    A page of some types alone may be short, or empty, and still have a `next`: a limited part of the log is searched at a time.
    """

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


@endpoint(
    "GET",
    "/v1/ops/events",
    by=operator("read"),
    takes=EventsQuery,
    gives=EventsPage,
    headers={"Last-Event-ID": "The id of the last event that a stream of Server-Sent Events gave; it wins over `after`."},
    streams=tuple(following.MEDIA.values()),
)
async def get_events(call: Call, query: EventsQuery) -> Answer:
    """Read the log as it is, from a position on, or follow it.

    With `Accept: text/event-stream` or `application/x-ndjson` each event is sent as it comes, until the caller leaves. An id
    is the event's position, so whoever comes back with it misses nothing. Texts that people wrote stay sealed.
    """
    accept = call.head.get(b"accept")
    for form, media in following.MEDIA.items():
        if asks_for(media, accept, instead_of="application/json"):
            return await _follow(call, query, form)
    database, stream = call.site.database, None if query.stream is None else _stream(query.stream)
    rows, searched = await store.read_on(database, query.after, query.limit + 1, stream, query.type)
    shown = list(rows[: query.limit])
    more = shown[-1].position if len(rows) > query.limit else None
    if more is None and query.type and searched < await call.site.log.head():
        more = searched
    link = () if more is None else (next_link(call, "after", str(more)),)
    return json_answer(EventsPage(shown, more), headers=link)


async def _follow(call: Call, query: EventsQuery, form: following.Form) -> Answer:
    """Answer with the events above a position as they come. Raises BadInput, TooManyFollowers."""
    site, stream = call.site, None if query.stream is None else _stream(query.stream)
    sent = call.head.get(b"last-event-id", b"")
    after = int(sent) if re.fullmatch(rb"[0-9]{1,18}", sent) else query.after
    if after > (head := await site.log.head()):
        raise BadInput.at("/after", f"is beyond the log's head, {head}: if the log went back, begin at a position you trust")
    rewinds = site.cards.rewinds

    async def read(after: int, limit: int) -> tuple[Sequence[RecordedRow], int]:
        return await store.read_on(site.database, after, limit, stream, query.type)

    return site.followers.join(form, after, read, call.network, lambda: site.cards.rewinds != rewinds)


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
