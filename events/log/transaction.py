"""One transaction of the log: lock the head, read, decide every command in turn, append.

What a command raises refuses that command alone; what the server raises ends the transaction.
"""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.catalog import LISTING, Listing
from events.log import postgres, store
from events.log.command import Command, Effect, Receipt, View
from events.log.event import Recorded, Registry, UnknownEvent, encode

Outcome = Receipt[Any] | Exception


class KeyReused(Exception):
    """This idempotency key was used with another request."""


class Batch:
    """What one transaction will append, gathered while its commands are decided."""

    def __init__(self, view: View, position: int) -> None:
        self.view = view
        self.position = position
        self.streams: list[UUID] = []
        self.versions: list[int] = []
        self.schema_versions: list[int] = []
        self.types: list[str] = []
        self.data: list[str] = []
        self.metas: list[str | None] = []
        self.effects: list[Effect] = []
        self.keys: dict[tuple[str, str], tuple[bytes, str | bytes]] = {}
        self.new_keys: list[tuple[str, str]] = []
        self.listing_position: int | None = None

    def decide(self, command: Command[Any]) -> Receipt[Any]:
        """Run one command's rule and take its events in; whatever it raises leaves the batch as it was."""
        key = command.key
        if key is not None and (kept := self.keys.get((key.scope, key.key))) is not None:
            if kept[0] != key.fingerprint:
                raise KeyReused(key.key)
            return cast("Receipt[Any]", msgspec.json.decode(kept[1], type=command.receipt_type))
        decision = command.decide(self.view)
        encoded = [encode(event) for _, event in decision.events]
        meta = None if decision.meta is None else msgspec.json.encode(decision.meta).decode()
        appended = len(encoded)
        receipt = Receipt(self.position + appended if appended else decision.position, appended, decision.value)
        if key is not None:
            self.keys[key.scope, key.key] = (key.fingerprint, msgspec.json.encode(receipt).decode())
            self.new_keys.append((key.scope, key.key))
        for (stream, event), data in zip(decision.events, encoded, strict=True):
            self._take(stream, event, data, meta)
        self.effects.extend(decision.effects)
        return receipt

    def _take(self, stream: UUID, event: Any, data: str, meta: str | None) -> None:
        last = self.view.last(stream)
        version = 1 if last is None else last.version + 1
        self.position += 1
        self.view.take(Recorded(stream, version, self.position, event))
        self.streams.append(stream)
        self.versions.append(version)
        self.schema_versions.append(event.schema_version)
        self.types.append(type(event).__name__)
        self.data.append(data)
        self.metas.append(meta)
        if isinstance(event, LISTING):
            self.listing_position = self.position


async def decide_and_append(
    connection: "Connection[Any]", registry: Registry, listing: Listing, commands: Sequence[Command[Any]]
) -> tuple[list[Outcome], int]:
    """Run a batch in the transaction that has begun; give each command's receipt or refusal, and how many events were appended.

    `listing` is brought up to the head. Whatever the server raises is raised.
    """
    batch, refusals = await _read(connection, registry, listing, commands)
    outcomes: list[Outcome] = []
    for command, refusal in zip(commands, refusals, strict=True):
        try:
            outcomes.append(batch.decide(command) if refusal is None else refusal)
        except Exception as error:
            outcomes.append(error)
    await _append(connection, batch)
    return outcomes, len(batch.streams)


async def _read(
    connection: "Connection[Any]", registry: Registry, listing: Listing, commands: Sequence[Command[Any]]
) -> tuple[Batch, list[Exception | None]]:
    """Lock the head and read all that the commands name; tell for each command why it cannot be decided, or None."""
    streams, refusals = _name(commands, listing)
    rows = await connection.fetch(store.LOCK_AND_READ, streams)
    head = rows[0]
    if head["extra"] > listing.position:  # the streams may have been named after a listing of the past
        await _refresh(connection, registry, listing)
        streams, refusals = _name(commands, listing)
        rows = [head, *await connection.fetch(store.READ_LASTS, streams)]
    batch = Batch(View(listing), head["position"])
    for row in rows[1:]:
        _take(batch.view, registry, row, streams[row["n"] - 1])
    await _read_more(connection, registry, batch, commands, refusals)
    return batch, refusals


def _name(commands: Sequence[Command[Any]], listing: Listing) -> tuple[list[UUID], list[Exception | None]]:
    """Ask every command which streams' last events it needs."""
    streams: dict[UUID, None] = {}
    refusals: list[Exception | None] = []
    for command in commands:
        try:
            for stream in command.lasts(listing):
                streams[stream] = None
            refusals.append(None)
        except Exception as error:
            refusals.append(error)
    return list(streams), refusals


async def _refresh(connection: "Connection[Any]", registry: Registry, listing: Listing) -> None:
    for row in await connection.fetch(store.READ_LISTING, listing.position):
        listing.evolve(row["position"], store.decode(registry, row).event)


async def _read_more(
    connection: "Connection[Any]",
    registry: Registry,
    batch: Batch,
    commands: Sequence[Command[Any]],
    refusals: list[Exception | None],
) -> None:
    """Read whole streams, idempotency keys, and what exclusive commands look up: most batches have none of them."""
    wholes: dict[UUID, None] = {}
    keys: dict[tuple[str, str], None] = {}
    for n, command in enumerate(commands):
        if refusals[n] is None:
            try:
                wholes.update(dict.fromkeys(command.wholes(batch.view.listing)))
                if command.exclusive:
                    await command.look_up(connection)
            except postgres.FAILED:  # what the server raises ends the whole transaction
                raise
            except Exception as error:
                refusals[n] = error
        if command.key is not None:
            keys[command.key.scope, command.key.key] = None
    if wholes:
        batch.view.expect(list(wholes))
        for row in await connection.fetch(store.READ_WHOLES, list(wholes)):
            _take(batch.view, registry, row, row["stream"])
    if keys:
        names = list(keys)
        for row in await connection.fetch(store.READ_KEYS, [s for s, _ in names], [k for _, k in names]):
            batch.keys[names[row["n"] - 1]] = (row["fingerprint"], row["receipt"])


def _take(view: View, registry: Registry, row: Any, stream: UUID) -> None:
    try:
        view.take(store.decode(registry, row, stream))
    except UnknownEvent as error:
        view.give_up(stream, error)


async def _append(connection: "Connection[Any]", batch: Batch) -> None:
    if batch.streams:
        await connection.execute(
            store.APPEND, batch.streams, batch.versions, batch.schema_versions, batch.types, batch.data, batch.metas,
            batch.listing_position,
        )  # fmt: skip
    for effect in batch.effects:
        await connection.execute(effect.sql, *effect.args)
    if batch.new_keys:
        kept = [batch.keys[key] for key in batch.new_keys]
        await connection.execute(
            store.KEEP_KEYS, [s for s, _ in batch.new_keys], [k for _, k in batch.new_keys],
            [fingerprint for fingerprint, _ in kept], [receipt for _, receipt in kept],
        )  # fmt: skip
