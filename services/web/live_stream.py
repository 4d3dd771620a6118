"""The stream of tallies as they change."""

from typing import Annotated, Final

from msgspec import Meta

from services.web.http.answers import Answer
from services.web.http.bodies import Slug
from services.web.http.endpoints import endpoint
from services.web.http.problems import NotFound, Refusal
from services.web.http.queries import Query
from services.web.live import EVENT_STREAM, MOST_VIEWERS
from services.web.site import Call

MOST_TOOLS: Final = 50


class TooManyViewers(Refusal):
    """The process has no place for another viewer."""


class LiveQuery(Query, frozen=True, kw_only=True):
    """The tools to watch."""

    tool: Annotated[list[Slug], Meta(min_length=1, max_length=MOST_TOOLS)]


@endpoint("GET", "/v1/tallies/live", takes=LiveQuery, gives=EVENT_STREAM, problems=(404, 503))
async def live(call: Call, query: LiveQuery) -> Answer:
    """Watch tallies change, as Server-Sent Events: `event: tally`, its data the community object and its `tool`.

    All tools asked for are told at once, then each when it changes, at most once a second. With `Last-Event-ID`, which browsers
    send by themselves, only what changed since.
    """
    site = call.site
    await site.reach(query.after)
    found = await site.cards.find(query.tool)
    if len(found) < len(set(query.tool)):
        raise NotFound("No listed tool has one of these slugs.")
    if site.live.viewers >= MOST_VIEWERS:
        raise TooManyViewers("As many watch as there are places for; ask for the tallies now and then instead.")
    last = call.head.get(b"last-event-id", b"")
    return site.live.stream(site.live.join(found, int(last) if last.isdigit() and len(last) < 20 else None))
