"""One transaction of the log: lock the head, read, decide every command in turn, append.

An exception that a command raises refuses that command alone; one that the server raises ends the transaction.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import msgspec
from asyncpg import Connection, Record

from events.log import history, parts, postgres, store
from events.log.command import Command, Decision, Effect, IdempotencyKey, Reads, Receipt, Seen
from events.log.event import Listing, Recorded, Registry, UnknownEvent, encode

Outcome = Receipt[Any] | Exception

V = TypeVar("V")


MOST_UNDER_LOCK: Final = 500
"""Events of the listing that are read while the head is locked."""

LISTING_PAGE: Final = 5_000
"""Events of the listing that are read at a time without the head's lock."""

WHOLES_AT_ONCE: Final = 500
"""Streams read whole in one round trip, so that a process does something else in between."""


class ListingBehind(Exception):
    """The listing lacks more events than may be read while all others wait: `follow` it without the lock, then try again."""


class KeyReused(Exception):
    """This idempotency key was used with another request."""


class Streams:
    """The streams that a batch named, as they stand under the head's lock, with what the batch has decided since."""

    __slots__ = ("_lasts", "_unreadable", "_wholes")

    def __init__(self) -> None:
        self._lasts: dict[UUID, Recorded[Any]] = {}
        self._wholes: dict[UUID, list[Recorded[Any]]] = {}
        self._unreadable: dict[UUID, UnknownEvent] = {}

    def see(self, reads: Reads, listing: Listing, found: Any) -> Seen:
        """Return what a command named. Raises UnknownEvent if a later release wrote any of it."""
        if self._unreadable:
            for stream in (*reads.lasts, *reads.wholes):
                self._must_be_readable(stream)
        lasts = [*map(self._lasts.get, reads.lasts)]
        wholes = [self._wholes[stream] for stream in reads.wholes] if reads.wholes else ()
        return Seen(listing, reads, lasts, wholes, found)

    def next_version(self, stream: UUID) -> int:
        """Return the version of a stream's next event. Raises UnknownEvent if a later release wrote its last one."""
        if self._unreadable:
            self._must_be_readable(stream)
        last = self._lasts.get(stream)
        return 1 if last is None else last.version + 1

    def expect(self, wholes: Sequence[UUID]) -> None:
        """Make room for streams that will be read whole."""
        for stream in wholes:
            self._wholes.setdefault(stream, [])

    def take(self, recorded: Recorded[Any]) -> None:
        """Take in an event that was read or has just been decided."""
        self._lasts[recorded.stream] = recorded
        whole = self._wholes.get(recorded.stream)
        if whole is not None:
            whole.append(recorded)

    def take_row(self, registry: Registry, row: Record, stream: UUID) -> None:
        """Take in an event as it was read; an unknown one refuses only the commands that ask for its stream."""
        try:
            self.take(store.decode(registry, row, stream))
        except UnknownEvent as error:
            self._unreadable[stream] = error

    def _must_be_readable(self, stream: UUID) -> None:
        if (error := self._unreadable.get(stream)) is not None:
            raise error


class Known:
    """What a process remembers of the log: the listing, the mark of the last event it knows of, and how far there are parts."""

    def __init__(self, registry: Registry) -> None:
        self.listing: Listing = registry.listing()
        self.mark: history.Mark | None = None
        self.room = 0

    def is_before(self, position: int) -> bool:
        """Return whether the last event that is known of is before a position."""
        return self.mark is None or self.mark.position < position


class Appended(msgspec.Struct, frozen=True):
    """What a transaction has appended: its events, in order, and the mark of the last one."""

    events: Sequence[Recorded[Any]]
    mark: history.Mark


class Batch:
    """What one transaction will append, gathered while its commands are decided."""

    def __init__(self, listing: Listing, position: int) -> None:
        self.listing = listing
        self.start = self.position = position
        self.is_joined = False
        """Whether a command was decided on the event of another one."""
        self.past = Streams()
        self.found: Any = None
        self.events: list[Recorded[Any]] = []
        self.data: list[str] = []
        self.metas: list[str | None] = []
        self.effects: list[Effect] = []
        self.keys: dict[tuple[str, str], tuple[bytes, str | bytes]] = {}
        self.new_keys: list[tuple[str, str]] = []
        self.listing_position: int | None = None

    def decide(self, command: Command[Any], reads: Reads | Exception) -> Receipt[Any]:
        """Run one command's rule and take its events in; whatever it raises leaves the batch as it was.

        A key that was used is answered first, whatever has become of what the command names. Raises `reads` if it is a refusal.
        """
        key = command.key
        if key is not None and (kept := self.keys.get((key.scope, key.key))) is not None:
            if kept[0] != key.fingerprint:
                raise KeyReused(key.key)
            return cast("Receipt[Any]", msgspec.json.decode(kept[1], type=command.receipt_type))
        if isinstance(reads, Exception):
            raise reads
        seen = self.past.see(reads, self.listing, self.found)
        if self.events and not self.is_joined:
            self.is_joined = self._is_of_batch(seen.lasts)
        decision = command.decide(seen)
        encoded = [encode(event) for _, event in decision.events]
        appended = len(encoded)
        receipt = Receipt(self.position + appended if appended else decision.position, appended, decision.value)
        if key is not None:
            self.keep(key, receipt)
            self.new_keys.append((key.scope, key.key))
        self.take(decision, encoded)
        return receipt

    def _is_of_batch(self, lasts: Sequence[Recorded[Any] | None]) -> bool:
        """Return whether any of these events is of this batch."""
        # Mostly all are None, and `count` finds that faster than `any`.
        return lasts.count(None) < len(lasts) and any(last is not None and last.position > self.start for last in lasts)

    def columns(self) -> tuple[list[Any], ...]:
        """Return the events as the columns that the statements of the append take: values that are all alike as one.

        asyncpg's work for each value is a third of a vote's.
        """
        return (
            [recorded.stream for recorded in self.events],
            once([recorded.version for recorded in self.events]),
            once([recorded.event.schema_version for recorded in self.events]),
            once([type(recorded.event).__name__ for recorded in self.events]),
            self.data,
            self.metas if any(self.metas) else [],
        )

    def keep(self, key: IdempotencyKey, receipt: Receipt[Any]) -> None:
        """Keep a receipt under a caller's key."""
        self.keys[key.scope, key.key] = (key.fingerprint, msgspec.json.encode(receipt).decode())

    def take(self, decision: Decision[Any], encoded: Sequence[str]) -> None:
        """Take a decision's events, with the data they were encoded to, and its effects."""
        meta = None if decision.meta is None else msgspec.json.encode(decision.meta).decode()
        for (stream, event), data in zip(decision.events, encoded, strict=True):
            version = self.past.next_version(stream)
            self.position += 1
            recorded = Recorded(stream, version, self.position, event)
            self.past.take(recorded)
            self.events.append(recorded)
            self.data.append(data)
            self.metas.append(meta)
            if isinstance(event, self.listing.types):
                self.listing_position = self.position
        self.effects.extend(decision.effects)


async def decide_and_append(
    connection: "Connection[Any]", registry: Registry, known: Known, commands: Sequence[Command[Any]]
) -> tuple[list[Outcome], Appended | None, int]:
    """Run a batch in the transaction that has begun; return each command's receipt or refusal, and what it appended.

    And return the last position that there is room for once it is committed. Brings the listing up to the head. Raises
    ListingBehind if that takes too long, WentBack, and whatever the server raises.
    """
    batch, named = await _read(connection, registry, known, commands)
    outcomes = decide(batch, commands, named)
    room = known.room if batch.position <= known.room else await parts.make_room(connection, batch.position)
    return outcomes, await _append(connection, batch), room


def decide(batch: Batch, commands: Sequence[Command[Any]], named: Sequence[Reads | Exception]) -> list[Outcome]:
    """Decide every command in turn, given what each reads; return its receipt or refusal."""
    outcomes: list[Outcome] = []
    for command, reads in zip(commands, named, strict=True):
        try:
            outcomes.append(batch.decide(command, reads))
        except Exception as error:
            outcomes.append(error)
    return outcomes


async def follow(connection: "Connection[Any]", registry: Registry, known: Known, most: int, until: int) -> bool:
    """Take up to `most` further events of the listing in, not beyond a position; return whether there may be more."""
    listing = known.listing
    rows = await connection.fetch(store.read_listing(listing.types, listing.fields), listing.position, most, until)
    for position, type_, schema_version, *values in rows:
        registry.must_know(type_, schema_version)
        listing.evolve(position, type_, *values)
    if rows and known.is_before(listing.position):
        mark = await history.mark_at(connection, listing.position)
        if mark is not None and known.is_before(mark.position):  # meanwhile another lane may have told of a later event
            known.mark = mark
    return len(rows) == most


async def follow_all(connection: "Connection[Any]", registry: Registry, known: Known) -> None:
    """Bring the listing up to the head without the head's lock, a page at a time."""
    until = await connection.fetchval("select position from log.whole()")
    while await follow(connection, registry, known, LISTING_PAGE, until):
        pass


async def _read(
    connection: "Connection[Any]", registry: Registry, known: Known, commands: Sequence[Command[Any]]
) -> tuple[Batch, list[Reads | Exception]]:
    """Lock the head and read all that the commands name; return what each of them names, or why it is refused."""
    listing = known.listing
    streams, named = name(commands, listing)
    position, listing_position, rows = await _lock_and_read(connection, streams, known.mark)
    if listing_position < listing.position:
        listing = known.listing = registry.listing()
    if listing_position != listing.position:  # the streams may have been named after a listing of the past
        if await follow(connection, registry, known, MOST_UNDER_LOCK, position) and listing_position > listing.position:
            raise ListingBehind
        streams, named = name(commands, listing)
        rows = await connection.fetch(store.READ_LASTS, streams)
    batch = Batch(listing, position)
    for row in rows:
        batch.past.take_row(registry, row, streams[row["n"] - 1])
    await read_more(connection, registry, batch, commands, named)
    return batch, named


def name(commands: Sequence[Command[Any]], listing: Listing) -> tuple[list[UUID], list[Reads | Exception]]:
    """Ask every command what it reads; return the streams whose last events are needed, and each command's answer."""
    streams: dict[UUID, None] = {}
    named: list[Reads | Exception] = []
    for command in commands:
        try:
            reads = command.reads(listing)
            for stream in reads.lasts:
                streams[stream] = None
            named.append(reads)
        except Exception as error:
            named.append(error)
    return list(streams), named


async def _lock_and_read(
    connection: "Connection[Any]", streams: list[UUID], mark: history.Mark | None
) -> tuple[int, int, list[Record]]:
    """Lock the head; return its position, the listing's position, and the last events of the streams.

    Raises WentBack if the log doesn't hold the mark any more.

    One round trip brings both, so the function's first row is the head: there `position` is the log's and `extra` the
    listing's, and the other columns mean nothing.
    """
    head, *rows = await connection.fetch(store.LOCK_AND_READ, streams, *history.place(mark))
    if mark is not None and not head["holds"]:
        raise history.WentBack(mark)
    return head["position"], head["extra"], rows


async def read_more(
    connection: "Connection[Any]",
    registry: Registry,
    batch: Batch,
    commands: Sequence[Command[Any]],
    named: list[Reads | Exception],
) -> None:
    """Read whole streams, idempotency keys, and what an exclusive command looks up: most batches have none of them."""
    if commands[0].exclusive and not isinstance(named[0], Exception):  # it is alone
        named[0] = await _look_up(connection, batch, commands[0], named[0])
    wholes = list(dict.fromkeys(s for reads in named if isinstance(reads, Reads) and reads.wholes for s in reads.wholes))
    if wholes:
        batch.past.expect(wholes)
        for at in range(0, len(wholes), WHOLES_AT_ONCE):
            for row in await connection.fetch(store.READ_WHOLES, wholes[at : at + WHOLES_AT_ONCE]):
                batch.past.take_row(registry, row, row["stream"])
    keys = list(dict.fromkeys((command.key.scope, command.key.key) for command in commands if command.key is not None))
    if keys:
        for row in await connection.fetch(store.READ_KEYS, [s for s, _ in keys], [k for _, k in keys]):
            batch.keys[keys[row["n"] - 1]] = (row["fingerprint"], row["receipt"])


async def _look_up(connection: "Connection[Any]", batch: Batch, command: Command[Any], reads: Reads) -> Reads | Exception:
    """Let an exclusive command look things up; return what it reads, or why it is refused."""
    await connection.execute(postgres.PLAN_ANEW)  # many look-ups read the log by such functions
    try:
        found = await command.look_up(connection)
    except postgres.FAILED:  # what the server raises ends the whole transaction
        raise
    except Exception as error:
        return error
    batch.found = found.value
    for recorded in found.events:
        batch.past.take(recorded)
    return reads


async def _append(connection: "Connection[Any]", batch: Batch) -> Appended | None:
    appended = None
    if batch.events:
        recorded_at = await connection.fetchval(store.APPEND, *batch.columns(), batch.listing_position)
        appended = Appended(batch.events, history.Mark(batch.position, recorded_at, batch.events[-1].stream))
    await keep_beside(connection, batch)
    return appended


def once(values: list[V]) -> list[V]:
    """Return values that are all alike as one, others as they are."""
    return values[:1] if len(values) > 1 and values.count(values[0]) == len(values) else values


async def keep_beside(connection: "Connection[Any]", batch: Batch) -> None:
    """Do what goes with a batch's events: their effects, and the receipts under their callers' keys."""
    for effect in batch.effects:
        await connection.execute(effect.sql, *effect.args)
    if batch.new_keys:
        kept = [batch.keys[key] for key in batch.new_keys]
        await connection.execute(
            store.KEEP_KEYS, [s for s, _ in batch.new_keys], [k for _, k in batch.new_keys],
            [fingerprint for fingerprint, _ in kept], [receipt for _, receipt in kept],
        )  # fmt: skip
