"""The log, for operators: a list to search, newest first, and each stream's story from its beginning."""

from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta

from events.log import ids, store
from events.log.ids import ID
from events.registry import REGISTRY
from services.web.event_lines import tell
from services.web.http.answers import Answer
from services.web.http.call import operator
from services.web.http.pages import page
from services.web.http.problems import NotFound
from services.web.http.queries import Position, Query
from services.web.ops import show_ops
from services.web.site import Call

_LIMIT: Final = 50
_SPAN: Final = 20_000
_STORY: Final = 500
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Search(Query, frozen=True, kw_only=True):
    """What to look for, below which position."""

    before: Position | None = None
    type: Annotated[str, Meta(max_length=60)] = ""
    words: Annotated[str, Meta(max_length=200)] = ""


class OfStream(Query, frozen=True, kw_only=True):
    """Which stream, by its uuid or its owner's id."""

    stream: Annotated[str, Meta(pattern=rf"^{_UUID}$(?!\n)|{ID}")]


@page("/ops/log", Search, operator("read"))
async def log(call: Call, asked: Search) -> Answer:
    """Search the log."""
    top = asked.before or await call.site.log.head() + 1
    words = asked.words.strip() or None
    span = _SPAN if asked.type or words else _LIMIT
    rows = await store.search_rows(call.site.database, top, span, asked.type or None, words, _LIMIT)
    lowest = rows[-1].position if len(rows) == _LIMIT else max(1, top - span)
    return show_ops(
        call,
        "ops_log.html",
        "/ops/log",
        told=[tell(row) for row in rows],
        asked=asked,
        types=sorted(REGISTRY.types),
        older=lowest if lowest > 1 else None,
        looked_to=lowest,
    )


@page("/ops/log/story", OfStream, operator("read"))
async def story(call: Call, asked: OfStream) -> Answer:
    """Tell a stream's story."""
    stream = ids.stream_of(asked.stream) if ids.is_id(asked.stream) else UUID(asked.stream)
    rows = await store.read_rows(call.site.database, 0, _STORY, stream)
    if not rows:
        raise NotFound("No event stands in this stream.")
    return show_ops(
        call, "ops_story.html", "/ops/log", stream=str(stream), told=[tell(row) for row in rows], is_whole=len(rows) < _STORY
    )
