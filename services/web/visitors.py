"""Visitors: callers without an account. Their tokens, their erasure, and what each did with a tool.

The last is read from the log, so that a page shows the visitor's own writes at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from events import ballots, bookmarks
from events.ballots import Choice
from events.commands.erasure import EraseVisitor
from events.log.event import Event, Recorded
from events.reviews import ReviewPlaced, place_stream
from services.clock import fresh_id
from services.web.http.answers import Answer, Headers, json_answer
from services.web.http.auth import find_visitor, visitor_cookie
from services.web.http.bodies import Id
from services.web.http.call import AUTHOR
from services.web.http.endpoints import endpoint
from services.web.http.pages import ANYONES, VISITORS
from services.web.site import Call


class NewVisitor(msgspec.Struct, frozen=True):
    """A visitor and the token that later calls present."""

    visitor: Id
    token: str


class ErasureAnswer(msgspec.Struct, frozen=True):
    """What was erased; `position` is that of the erasure's last event, null for a visitor without any."""

    visitor: Id
    reviews: int
    bookmarks: int
    position: int | None


class VisitorState(NamedTuple):
    """A visitor's own vote on a tool, whether the tool is bookmarked, and the id of the visitor's review of it."""

    choice: Choice | None = None
    kept: bool = False
    review: str | None = None


async def read_states(call: Call, tools: Sequence[str]) -> list[VisitorState]:
    """Return what the caller did with each of these tools, by their ids; empty states for callers without a cookie."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is None:
        return [VisitorState()] * len(tools)
    streams = [
        stream
        for tool in tools
        for stream in (ballots.stream(visitor, tool), bookmarks.stream(visitor, tool), place_stream(visitor, tool))
    ]
    lasts = await call.site.log.lasts(streams)
    return [_state(*lasts[at : at + 3]) for at in range(0, len(lasts), 3)]


def _state(ballot: Recorded[Event] | None, bookmark: Recorded[Event] | None, place: Recorded[Event] | None) -> VisitorState:
    return VisitorState(
        None if ballot is None else ballots.evolve(None, ballot.event),
        bookmark is not None and bookmarks.evolve(False, bookmark.event),
        place.event.review if place is not None and isinstance(place.event, ReviewPlaced) else None,
    )


def cache_for(call: Call) -> Headers:
    """Return who may keep a page: only the visitor's own browser, if the caller has a visitor's cookie."""
    return ANYONES if find_visitor(call.head, call.site.tokens) is None else VISITORS


@endpoint("POST", "/v1/visitors", gives=NewVisitor, statuses=(201, 200), problems=(429,), sent_by="program", counted=False)
async def post_visitor(call: Call) -> Answer:
    """Issue a visitor's token. New visitors of a network are counted; they have written nothing yet.

    With a valid token, as Bearer or cookie, the same visitor is answered (200) with a token under the newest key, unless it was
    erased.
    """
    visitor = find_visitor(call.head, call.site.tokens)
    status = 200
    if visitor is None or call.site.is_erased(visitor):
        call.add_limits(await call.site.limit_new_visitor(call.network))
        visitor = fresh_id()
        status = 201
    token = call.site.tokens.issue(visitor)
    headers = ((b"cache-control", b"no-store"), visitor_cookie(token, call.site.settings.base_url))
    return json_answer(NewVisitor(visitor, token), status, headers)


@endpoint("DELETE", "/v1/visitors/me", by=AUTHOR, gives=ErasureAnswer)
async def delete_visitor(call: Call) -> ErasureAnswer:
    """Erase what the visitor wrote: reviews are withdrawn, their texts destroyed, bookmarks removed. Its votes stay counted.

    From then on its token writes nothing: 403.
    """
    receipt = await call.site.committer.submit(EraseVisitor(call.visitor, key=call.key))
    call.site.erased.add(call.visitor)
    return ErasureAnswer(call.visitor, receipt.value.reviews, receipt.value.bookmarks, receipt.position)
