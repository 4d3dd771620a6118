"""A whole log out, as it stands, and in: into an empty log only, and all of it or nothing.

Beside the append this is the only writer of `log.events`. Imported events wait beside the log, a part at a time, so that an
import that was cut short goes on from there; once the last one is in, they become the log in one transaction.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from asyncpg import Connection
from msgspec import Meta

from events.log import parts, postgres
from events.log.event import Registry, UnknownEvent
from events.log.store import LOCK_HEAD, NO_META, RecordedRow, as_row

AT_ONCE = 2_000
"""Events a round trip."""

IN_A_PART = 10
"""Round trips between two commits."""

_LOCK_KEY = 0x696D706F

COLUMNS = ("position", "stream", "version", "type", "schema_version", "recorded_at", "data", "meta")

# Of the table itself: each event at the schema version that it was written with.
READ = """
select position, stream, version, type, schema_version, recorded_at, data, meta from log.events
where position >= $1 and position <= $2 order by position
"""

# What was loaded so far, and the digest of it that the file's reader keeps: by it a file is known again.
STAGE = """
create schema if not exists import;
create table if not exists import.events (like log.events);
create table if not exists import.progress (
    only_row boolean not null default true primary key check (only_row),
    events   bigint  not null default 0,
    digest   bytea
);
insert into import.progress default values on conflict do nothing;
"""

UNSTAGE = "drop schema if exists import cascade"

TAKE = """
insert into log.events (position, stream, version, type, schema_version, recorded_at, data, meta)
select position, stream, version, type, schema_version, recorded_at, data, meta from import.events
"""

SET_HEAD = "update log.head set position = $1, recorded_at = $2, listing_position = $3"

# A stream's versions run from 1 without a hole, and rise with the positions.
BROKEN_STREAMS = """
select s.stream from (
    select stream, version, row_number() over (partition by stream order by position) as place from log.events
) s
where s.version <> s.place limit 1
"""

COUNT = "select count(*) = $1 and count(*) = coalesce(max(position), 0) from log.events"


AHEAD: Final = timedelta(minutes=5)
"""How far an event may be ahead of the server's clock: every later one would have its time until the clock is there."""

_metas = msgspec.json.Decoder(dict[str, str] | None)

Time = Annotated[datetime, Meta(tz=True)]


class LogNotEmpty(Exception):
    """The log holds events already; the argument is their number."""


class LogBroken(Exception):
    """The log is not what it promises to be; the message is one sentence."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as it comes in: what a RecordedRow holds, within the bounds of the table's columns."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    stream: UUID
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    type: str
    schema_version: Annotated[int, Meta(ge=1, le=2**15 - 1)]
    recorded_at: Time
    data: msgspec.Raw
    meta: msgspec.Raw


class EntryRefused(Exception):
    """An event cannot be part of a log; the message names its position."""


class LoadRunning(Exception):
    """Another import is running."""


class AnotherLog(Exception):
    """An import of other events was cut short; what it had loaded is dropped."""


async def entries(connection: "Connection[Any]", first: int, last: int) -> AsyncIterator[RecordedRow]:
    """Return the events from one position to another, in order; needs a transaction with one snapshot.

    Raises LogBroken at a hole.
    """
    expected = first
    async for record in connection.cursor(READ, first, last, prefetch=AT_ONCE):
        if record["position"] != expected:
            break
        yield as_row(record)
        expected += 1
    if expected != last + 1:
        raise LogBroken(f"The log has no event at position {expected}, though it should go on to {last}")


async def load(connection: "Connection[Any]", registry: Registry, whole: Iterable[Entry], digest: Callable[[], bytes]) -> int:
    """Write a whole log into an empty one; return the head's position.

    `digest` returns a hash of what was taken from `whole` so far. If `whole` raises, even after its last entry, the log stays
    empty. An interrupted load goes on from there the next time. Raises LogNotEmpty, EntryRefused, LoadRunning, AnotherLog.
    """
    if not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK_KEY):
        raise LoadRunning
    try:
        await _must_be_empty(connection, "select position from log.head")
        checks = Checks(registry, await connection.fetchval("select now()"))
        try:
            await _stage(connection, checks.checked(whole), digest)
            await _take(connection, checks)
        except postgres.FAILED:  # as after a kill, the next import goes on from here; all else is the file's fault
            raise
        except Exception:
            await connection.execute(UNSTAGE)
            raise
    finally:
        if not connection.is_closed():
            await connection.execute("select pg_advisory_unlock($1)", _LOCK_KEY)
    await connection.execute("analyze log.events")  # the views will read all of it before autovacuum has looked
    return checks.position


async def _stage(connection: "Connection[Any]", entries: Iterator[Entry], digest: Callable[[], bytes]) -> None:
    """Write the entries beside the log, after those that an interrupted load left there."""
    await connection.execute(STAGE)
    row = await connection.fetchrow("select events, digest from import.progress")
    assert row is not None  # noqa: S101 - STAGE inserted it
    there = row["events"]
    if there and (sum(1 for _ in islice(entries, there)) != there or digest() != row["digest"]):
        raise AnotherLog
    while part := list(islice(entries, AT_ONCE * IN_A_PART)):
        async with connection.transaction():
            for batch in (part[start : start + AT_ONCE] for start in range(0, len(part), AT_ONCE)):
                await connection.copy_records_to_table(
                    "events", schema_name="import", columns=COLUMNS, records=map(_record, batch)
                )
            await connection.execute("update import.progress set events = events + $1, digest = $2", len(part), digest())


async def _take(connection: "Connection[Any]", checks: "Checks") -> None:
    """Make the entries beside the log the log."""
    async with connection.transaction():
        await _must_be_empty(connection, LOCK_HEAD)  # nobody appends while it is locked
        await parts.make_room(connection, checks.position)
        await connection.execute(TAKE)
        if checks.position:
            await connection.execute(SET_HEAD, checks.position, checks.recorded_at, checks.listing_position)
        await _verify(connection, checks.position)
        await connection.execute(UNSTAGE)


async def _must_be_empty(connection: "Connection[Any]", read_head: str) -> None:
    head = await connection.fetchval(read_head)
    if head:
        raise LogNotEmpty(head)


async def _verify(connection: "Connection[Any]", head: int) -> None:
    broken = await connection.fetchval(BROKEN_STREAMS)
    if broken is not None:
        raise EntryRefused(f"the versions of stream {broken} have a hole or are out of order")
    if not await connection.fetchval(COUNT, head):
        raise LogBroken(f"The log does not hold the {head} events that were written")


class Checks:
    """Checks entries on their way in, at the time `now`, and remembers what the head must say."""

    def __init__(self, registry: Registry, now: datetime) -> None:
        self._registry = registry
        self._latest = now + AHEAD
        self._listing = {type_.__name__ for type_ in registry.listing.types}
        self.position = 0
        self.recorded_at = datetime.min.replace(tzinfo=UTC)
        self.listing_position = 0

    def checked(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Return the entries. Raises EntryRefused at the first that does not follow the one before it, or is not known."""
        for entry in entries:
            if entry.position != self.position + 1:
                raise EntryRefused(f"position {entry.position} follows position {self.position}: events are missing")
            if entry.recorded_at < self.recorded_at:
                raise EntryRefused(f"position {entry.position} was recorded before the position before it")
            if entry.recorded_at > self._latest:
                raise EntryRefused(
                    f"position {entry.position} was recorded at {entry.recorded_at:%Y-%m-%d %H:%M}, which is yet to come"
                )
            self._must_be_known(entry)
            self.position, self.recorded_at = entry.position, entry.recorded_at
            if entry.type in self._listing:
                self.listing_position = entry.position
            yield entry

    def _must_be_known(self, entry: Entry) -> None:
        """Raise EntryRefused if no projection could read it. Data of an older version is only checked once it is upcast."""
        try:
            _metas.decode(entry.meta)
        except (msgspec.DecodeError, RecursionError) as error:
            raise EntryRefused(f"position {entry.position}: its meta is not an object of texts ({error})") from None
        type_ = self._registry.types.get(entry.type)
        if type_ is not None and entry.schema_version < type_.schema_version:
            return
        try:
            self._registry.decode(entry.type, entry.schema_version, bytes(entry.data))
        except (UnknownEvent, msgspec.DecodeError, RecursionError) as error:
            raise EntryRefused(f"position {entry.position}: {error}") from None


def _record(entry: Entry) -> tuple[object, ...]:
    meta = None if entry.meta == NO_META else bytes(entry.meta).decode()
    return (
        entry.position, entry.stream, entry.version, entry.type, entry.schema_version, entry.recorded_at,
        bytes(entry.data).decode(), meta,
    )  # fmt: skip
