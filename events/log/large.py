"""The append of very many events: decided and written down beside the log, so that others wait for the last copy alone.

All of it is one transaction. If what the decision rests on has moved meanwhile, it is decided anew, the last time under the
head's lock.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from asyncpg import Connection
from msgspec.structs import replace

from events.log import parts, store
from events.log.command import Command, Reads, Receipt
from events.log.event import Recorded, Registry, encode
from events.log.transaction import Batch, Known, follow_all, keep_beside, name, read_more

TRIES: Final = 3
"""Without the lock; one more is made under it."""

AT_ONCE: Final = 2_000
"""Rows a round trip."""

SECONDS_UNDER_LOCK: Final = "120s"
"""How long a decision under the lock may take."""

HEAD: Final = "select position from log.head"

# The rows are this session's alone, so that nothing is left of them after a kill.
MAKE_ROOM: Final = """
create temporary table if not exists large_batch (
    n integer not null, stream uuid not null, version integer not null, schema_version smallint not null,
    type text not null collate "C", data jsonb not null, meta jsonb
);
truncate pg_temp.large_batch
"""
COLUMNS: Final = ("n", "stream", "version", "schema_version", "type", "data", "meta")

Report = Callable[[int, int], None]
"""Is told how many of the events are written down, and how many there are."""

Taken = tuple[Receipt[Any], Sequence[Recorded[Any]]]


class Draft(msgspec.Struct, frozen=True):
    """A batch that was decided as of the head's position `start`, and the receipt that it comes to."""

    batch: Batch
    reads: Reads
    start: int
    receipt: Receipt[Any]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to record."""
        return not self.batch.events and not self.batch.new_keys


async def append(
    connection: "Connection[Any]", registry: Registry, command: Command[Any], report: Report = lambda done, of: None
) -> Taken:
    """Decide a command and append all of its events, or none; return the receipt and them. Needs a connection of its own.

    Raises what the command raises, KeyReused, and whatever the server raises.
    """
    for _ in range(TRIES):
        draft = await _draft(connection, registry, command, report)
        if draft.is_empty:
            return draft.receipt, []
        async with connection.transaction():
            position = await _lock_if_unmoved(connection, command, draft)
            if position is not None:
                return await _take(connection, command, draft, position)
    async with connection.transaction():
        await connection.execute(store.ALLOW_SECONDS, SECONDS_UNDER_LOCK)
        ((position, _),) = await connection.fetch(store.LOCK_HEAD)
        draft = await _draft(connection, registry, command, report)
        return (draft.receipt, []) if draft.is_empty else await _take(connection, command, draft, position)


async def _draft(connection: "Connection[Any]", registry: Registry, command: Command[Any], report: Report) -> Draft:
    """Decide the command as the log stands now, and write its events down beside the log."""
    start = await connection.fetchval(HEAD)
    known = Known(registry)
    await follow_all(connection, registry, known)
    batch = Batch(known.listing, start)
    streams, named = name([command], known.listing)
    for row in await connection.fetch(store.READ_LASTS, streams):
        batch.past.take_row(registry, row, streams[row["n"] - 1])
    await read_more(connection, registry, batch, [command], named)
    receipt = await asyncio.to_thread(batch.decide, command, named[0])  # others go on in this process
    reads = Reads() if isinstance(named[0], Exception) else named[0]  # of a repeat, whose key was answered
    await connection.execute(MAKE_ROOM)
    await _write_down(connection, batch, 0, report)
    return Draft(batch, reads, start, receipt)


async def _write_down(connection: "Connection[Any]", batch: Batch, done: int, report: Report) -> None:
    """Write the events of a batch beside the log, but for the first `done` of them."""
    of = len(batch.events)
    rows = (
        (n, each.stream, each.version, each.event.schema_version, type(each.event).__name__, data, meta)
        for n, (each, data, meta) in enumerate(zip(batch.events, batch.data, batch.metas, strict=True), 1)
    )
    rest = islice(rows, done, None)
    while part := list(islice(rest, AT_ONCE)):
        await connection.copy_records_to_table("large_batch", schema_name="pg_temp", columns=COLUMNS, records=part)
        done += len(part)
        report(done, of)


async def _lock_if_unmoved(connection: "Connection[Any]", command: Command[Any], draft: Draft) -> int | None:
    """Lock the head; return its position, or None if anything that the draft rests on has moved."""
    named = {*draft.reads.lasts, *draft.reads.wholes}
    owners = {stream.bytes[:8] for stream in named} if command.looks_beside else set()
    position: int
    ((position, listing_position),) = await connection.fetch(store.LOCK_HEAD)
    if position < draft.start or listing_position != draft.batch.listing.position:
        return None
    keys = draft.batch.new_keys
    if keys and await connection.fetch(store.READ_KEYS, [scope for scope, _ in keys], [key for _, key in keys]):
        return None
    for (stream,) in await connection.fetch(store.READ_STREAMS_SINCE, draft.start):
        if stream in named or stream.bytes[:8] in owners:
            return None
    return position if await command.finds_the_same(connection, draft.batch.found) else None


async def _take(connection: "Connection[Any]", command: Command[Any], draft: Draft, position: int) -> Taken:
    """Make a draft that holds part of the log, whose head is locked; return the receipt and the events, as they stand there."""
    batch, receipt, moved = draft.batch, draft.receipt, position - draft.start
    if receipt.appended:
        drafted = receipt.appended
        if (last := await command.conclude(connection, receipt.value)) is not None:
            batch.take(last, [encode(event) for _, event in last.events])
            await _write_down(connection, batch, drafted, lambda done, of: None)
            receipt = replace(receipt, value=last.value)
        listing = None if batch.listing_position is None else batch.listing_position + moved
        await parts.make_room(connection, batch.position + moved)
        await connection.execute(store.TAKE_LARGE, len(batch.events), listing)
        receipt = replace(receipt, position=batch.position + moved, appended=len(batch.events))
    if command.key is not None and batch.new_keys:
        batch.keep(command.key, receipt)
    await keep_beside(connection, batch)
    return receipt, [replace(recorded, position=recorded.position + moved) for recorded in batch.events]
