"""What the folds take and give: recorded events, and the rows of tables by their keys."""

from datetime import datetime
from typing import Any, Protocol

import msgspec
from asyncpg import Record

from events.log.event import Event, Registry
from events.log.store import RecordedRow, as_row

Key = tuple[Any, ...]
Row = dict[str, Any]
Tables = dict[str, dict[Key, Row]]


class Entry(msgspec.Struct, frozen=True):
    """A recorded event as the folds take it; `recorded_at` has a time zone, `version` is its number in its stream.

    `stored` is all that was recorded of it, as the table has it.
    """

    position: int
    recorded_at: datetime
    event: Event
    version: int
    stored: RecordedRow


def entry_from(registry: Registry, record: Record) -> Entry:
    """Return the entry of a row of `store.ROWS`."""
    event = registry.decode(record["type"], record["schema_version"], record["data"])
    return Entry(record["position"], record["recorded_at"], event, record["version"], as_row(record))


class Fold(Protocol):
    """A projection's tables while events are folded into them."""

    concerns: tuple[type[Event], ...]

    def take(self, entry: Entry) -> None:
        """Fold the next event in; an event of no concern to the projection changes nothing."""

    def tables(self) -> Tables:
        """Return each table's rows, with all their columns, by primary key."""
