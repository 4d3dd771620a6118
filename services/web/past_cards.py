"""Cards of the past: a tool as the log said at a position. Positions never change what they say, so neither do these."""

from collections.abc import Iterable
from typing import Any

from events import quarantine
from events.catalog import VIEW, Tool, evolve
from events.log import ids
from events.log.event import Recorded
from events.quarantine import EventDropped
from projections import hours
from projections.cards import Card, Pricing, panel
from projections.tally import community
from services.web.card_cache import CachedCard
from services.web.http.problems import NotFound
from services.web.site import Call, Site

TOO_LATE = "The log has no such position yet."


async def card_at(call: Call, tool: CachedCard, position: int) -> Card:
    """Return the card of a tool as of a position. Raises NotFound beyond the head and before the tool, and while views lag.

    The present card says the same of every position since its last change. That of a past one is as of the position asked for.
    """
    site = call.site
    if position > site.cards.as_of(tool):
        if position > await site.log.head():
            raise NotFound(TOO_LATE)
        await site.reach(position, call.network)
        tool = await site.cards.listed(tool.slug)
    present = tool.card
    if present.position <= position:
        return present
    return await _past_card(call, tool, position)


async def _past_card(call: Call, tool: CachedCard, position: int) -> Card:
    site = call.site
    tally = await hours.at(site.reading, tool.tool, position)
    if tally is None:
        raise NotFound("The log begins with position 1.")
    if tally.position < position:  # the view of tallies is behind the cards
        await site.reach(position, call.network)
        return await _past_card(call, tool, position)
    then = await _listed_at(site, tool.tool, position)
    if then is None:
        raise NotFound("The tool wasn't listed at this position.")
    successor = then.description.successor and await _listed_at(site, then.description.successor, position)
    return _card(then, tally, successor.slug if successor else None)


async def _listed_at(site: Site, tool: str, position: int) -> Tool | None:
    """Return a tool as of a position; None if it wasn't listed there."""
    then = _fold(await site.reading_log.since([quarantine.stream(VIEW), ids.stream_of(tool)], 0), position)
    return then if then is not None and then.listed else None


def _fold(events: Iterable[Recorded[Any]], position: int) -> Tool | None:
    """Return a tool as of a position, without what the cards pass over."""
    told = list(events)
    dropped = {recorded.event.position for recorded in told if isinstance(recorded.event, EventDropped)}
    tool = None
    for recorded in told:
        if recorded.position <= position and recorded.position not in dropped:
            tool = evolve(tool, recorded.event)
    return tool


def _card(tool: Tool, tally: hours.Tally, successor: str | None) -> Card:
    said = tool.description
    return Card(
        slug=tool.slug,
        name=said.name,
        tagline=said.tagline,
        description=said.description,
        category=said.category,
        pricing=Pricing(said.pricing_tier, said.pricing_label),
        best_for=said.best_for,
        url=said.url,
        reviewed=said.reviewed,
        disclosure=said.disclosure,
        successor=successor,
        panel=panel((one.persona, one.score, one.verdict, one.take) for one in tool.panel.values()),
        community=community(tally.ship, tally.skip),
        position=tally.position,
    )
