"""What a page shows of its visitor: votes, bookmarks and reviews, read from the log, so that the latest write is there."""

from collections.abc import Sequence
from typing import NamedTuple

from events import ballots, bookmarks
from events.ballots import Choice
from events.log.event import Event, Recorded
from events.reviews import ReviewPlaced, place_stream
from services.web.http.answers import Headers
from services.web.http.auth import find_visitor
from services.web.http.pages import ANYONES, VISITORS
from services.web.site import Call


class Own(NamedTuple):
    """A visitor's vote on a tool, whether it is bookmarked, and the id of the visitor's review."""

    choice: Choice | None = None
    kept: bool = False
    review: str | None = None


NOBODYS = Own()


async def own_of(call: Call, tools: Sequence[str]) -> list[Own]:
    """Read what the caller did with each of these tools, by their ids; empty for callers without a cookie."""
    visitor = find_visitor(call.head, call.site.tokens)
    if visitor is None:
        return [NOBODYS] * len(tools)
    streams = [
        stream
        for tool in tools
        for stream in (ballots.stream(visitor, tool), bookmarks.stream(visitor, tool), place_stream(visitor, tool))
    ]
    lasts = await call.site.log.lasts(streams)
    return [_own(*lasts[at : at + 3]) for at in range(0, len(lasts), 3)]


def _own(ballot: Recorded[Event] | None, bookmark: Recorded[Event] | None, place: Recorded[Event] | None) -> Own:
    return Own(
        None if ballot is None else ballots.evolve(None, ballot.event),
        bookmark is not None and bookmarks.evolve(False, bookmark.event),
        place.event.review if place is not None and isinstance(place.event, ReviewPlaced) else None,
    )


def cache_for(call: Call) -> Headers:
    """Return who may keep a page: only the visitor's own browser, if the page was made for a visitor's cookie."""
    return ANYONES if find_visitor(call.head, call.site.tokens) is None else VISITORS
