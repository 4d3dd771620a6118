"""The one list of the projections of this release."""

from projections.engine.projection import Projection

PROJECTIONS = (
    Projection("cards", 1),
    Projection("hours", 1),
    Projection("bookmarks", 1),
    Projection("reviews", 1),
    Projection("subscribers", 1),
    Projection("corrections", 1),
)
