"""The one list of all event types of this release, and the listing that its commands see."""

from events import (
    ballots,
    bookmarks,
    catalog,
    erasure,
    integrity,
    issues,
    proof,
    quarantine,
    reports,
    reviews,
    subscribers,
    voters,
)
from events.log.event import Registry

REGISTRY = Registry(
    (
        *catalog.EVENTS,
        *ballots.EVENTS,
        *bookmarks.EVENTS,
        *reviews.EVENTS,
        *reports.EVENTS,
        *voters.EVENTS,
        *erasure.EVENTS,
        *subscribers.EVENTS,
        *quarantine.EVENTS,
        *integrity.EVENTS,
        *proof.EVENTS,
        *issues.EVENTS,
    ),
    listing=catalog.Listing,
)
