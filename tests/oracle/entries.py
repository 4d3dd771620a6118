"""What the folds take and give: recorded events, and the rows of tables by their keys."""

from datetime import datetime
from typing import Any, Protocol

import msgspec

from events.log.event import Event

Key = tuple[Any, ...]
Row = dict[str, Any]
Tables = dict[str, dict[Key, Row]]


class Entry(msgspec.Struct, frozen=True):
    """A recorded event as the folds take it; `recorded_at` has a time zone, `version` is its number in its stream."""

    position: int
    recorded_at: datetime
    event: Event
    version: int


class Fold(Protocol):
    """A projection's tables while events are folded into them."""

    concerns: tuple[type[Event], ...]

    def take(self, entry: Entry) -> None:
        """Fold the next event in; an event of no concern to the projection changes nothing."""

    def tables(self) -> Tables:
        """Return each table's rows, with all their columns, by primary key."""
