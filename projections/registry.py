"""The one list of the projections of this release, and of their schemas' names in statements."""

import re

from projections.engine.projection import Projection

# A vote's event carries the whole change of its tally, whatever was passed over before it.
_TALLY = frozenset({"ship", "skip"})

PROJECTIONS = (
    Projection("cards", 4, exact_totals=_TALLY),
    Projection("hours", 5, exact_totals=_TALLY),
    Projection("bookmarks", 1),
    Projection("reviews", 2),
    Projection("subscribers", 2),
    Projection("corrections", 1),
    Projection("verdicts", 1, exact_totals=_TALLY),
    Projection("integrity", 2, exact_totals=frozenset({"votes"})),
    Projection("search", 1),
    Projection("proof", 1),
)

# What pages and mails are made from: they don't wait for the tree over the log, which says nothing else.
SHOWN = tuple(projection for projection in PROJECTIONS if not projection.whole)

_SCHEMAS = {projection.name: projection.schema for projection in PROJECTIONS}
_PLACE = re.compile(r"\{(\w+)\}")


def named(statement: str) -> str:
    """Return a statement with the schema of a projection in place of its name in braces, as in `{cards}.tools`.

    Raises KeyError for a name that no projection has.
    """
    return _PLACE.sub(lambda place: _SCHEMAS[place[1]], statement)
