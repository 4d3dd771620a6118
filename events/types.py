"""The one list of all event types of this release."""

from events import ballots, bookmarks, catalog, people, quarantine, reviews, subscribers, voters
from events.event import Registry

REGISTRY = Registry(
    (
        *catalog.EVENTS,
        *ballots.EVENTS,
        *bookmarks.EVENTS,
        *reviews.EVENTS,
        *voters.EVENTS,
        *people.EVENTS,
        *subscribers.EVENTS,
        *quarantine.EVENTS,
    )
)
