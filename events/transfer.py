"""The whole log out, and in again: every event with its own position, version and time.

Beside the append this is the only writer of `log.events`, and it writes into an empty log only: all of it or nothing.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import msgspec
from asyncpg import Connection
from msgspec import Meta

from events.catalog import LISTING
from events.event import Registry, UnknownEvent

AT_ONCE = 2_000
"""Events a round trip."""

NO_META = msgspec.Raw(b"null")

COLUMNS = ("position", "stream", "version", "type", "schema_version", "recorded_at", "data", "meta")

READ_ALL = """
select position, stream, version, type, schema_version, recorded_at, data, meta from log.events order by position
"""

# Nobody appends while the head is locked.
LOCK_EMPTY = "select position from log.head for update"

SET_HEAD = "update log.head set position = $1, recorded_at = $2, listing_position = $3"

# A stream's versions run from 1 without a hole, and rise with the positions.
BROKEN_STREAMS = """
select s.stream from (
    select stream, version, row_number() over (partition by stream order by position) as place from log.events
) s
where s.version <> s.place limit 1
"""

COUNT = "select count(*) = $1 and count(*) = coalesce(max(position), 0) from log.events"

_LISTING = frozenset(type_.__name__ for type_ in LISTING)

Time = Annotated[datetime, Meta(tz=True)]


class LogNotEmpty(Exception):
    """The log holds events already; the argument is their number."""


class LogBroken(Exception):
    """The log is not what it promises to be; the message is one sentence."""


class EntryRefused(Exception):
    """An event cannot be part of a log; the message names its position."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as the table holds it, at the schema version it was written with; `meta` is `null` when there is none."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    stream: UUID
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    type: str
    schema_version: Annotated[int, Meta(ge=1, le=2**15 - 1)]
    recorded_at: Time
    data: msgspec.Raw
    meta: msgspec.Raw


async def entries(connection: "Connection[Any]") -> AsyncIterator[Entry]:
    """Give every event in the log's order; needs a transaction with one snapshot. LogBroken at a hole."""
    head: int = await connection.fetchval("select position from log.head")
    expected = 1
    async for row in connection.cursor(READ_ALL, prefetch=AT_ONCE):
        if row["position"] != expected:
            break
        yield as_entry(row)
        expected += 1
    if expected != head + 1:
        raise LogBroken(f"The log has no event at position {expected}, and its head is {head}")


def as_entry(row: Any) -> Entry:
    """Make an entry of a row with its columns."""
    position, stream, version, type_, schema_version, recorded_at, data, meta = (row[column] for column in COLUMNS)
    raw = NO_META if meta is None else msgspec.Raw(meta.encode())
    return Entry(position, stream, version, type_, schema_version, recorded_at, msgspec.Raw(data.encode()), raw)


async def load(connection: "Connection[Any]", registry: Registry, whole: Iterable[Entry]) -> int:
    """Write a whole log into an empty one, in one transaction; give the head's position.

    LogNotEmpty, EntryRefused. Whatever `whole` raises, were it at its very end, leaves the log empty.
    """
    async with connection.transaction():
        head = await connection.fetchval(LOCK_EMPTY)
        if head:
            raise LogNotEmpty(head)
        loading = _Loading(registry)
        checked = loading.checked(whole)
        while batch := list(islice(checked, AT_ONCE)):
            await connection.copy_records_to_table("events", schema_name="log", columns=COLUMNS, records=map(_record, batch))
        if loading.position:
            await connection.execute(SET_HEAD, loading.position, loading.recorded_at, loading.listing_position)
        await _verify(connection, loading.position)
    await connection.execute("analyze log.events")  # the views will read all of it before autovacuum has looked
    return loading.position


async def _verify(connection: "Connection[Any]", head: int) -> None:
    broken = await connection.fetchval(BROKEN_STREAMS)
    if broken is not None:
        raise EntryRefused(f"the versions of stream {broken} have a hole or are out of order")
    if not await connection.fetchval(COUNT, head):
        raise LogBroken(f"The log does not hold the {head} events that were written")


class _Loading:
    """Checks entries on their way in and remembers what the head must say."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.position = 0
        self.recorded_at = datetime.min.replace(tzinfo=UTC)
        self.listing_position = 0

    def checked(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Give the entries; EntryRefused at the first that doesn't follow the one before or isn't known."""
        for entry in entries:
            if entry.position != self.position + 1:
                raise EntryRefused(f"position {entry.position} follows position {self.position}: events are missing")
            if entry.recorded_at < self.recorded_at:
                raise EntryRefused(f"position {entry.position} was recorded before the position before it")
            self._must_be_known(entry)
            self.position, self.recorded_at = entry.position, entry.recorded_at
            if entry.type in _LISTING:
                self.listing_position = entry.position
            yield entry

    def _must_be_known(self, entry: Entry) -> None:
        """Refuse what no view could take; data of an older version is read through the upcasting view only."""
        type_ = self._registry.types.get(entry.type)
        if type_ is not None and entry.schema_version < type_.schema_version:
            return
        try:
            self._registry.decode(entry.type, entry.schema_version, bytes(entry.data))
        except (UnknownEvent, msgspec.ValidationError) as error:
            raise EntryRefused(f"position {entry.position}: {error}") from None


def _record(entry: Entry) -> tuple[object, ...]:
    meta = None if entry.meta == NO_META else bytes(entry.meta).decode()
    return (
        entry.position, entry.stream, entry.version, entry.type, entry.schema_version, entry.recorded_at,
        bytes(entry.data).decode(), meta,
    )  # fmt: skip
