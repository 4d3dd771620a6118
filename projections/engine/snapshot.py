"""Read all projections at one position: the live ones, held for a moment, or ones folded afresh from the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from asyncpg import Connection

from events.log import postgres
from events.log.event import Registry
from projections.engine import window
from projections.engine.projection import Projection, live_position, lock_live, work_in

PATIENCE_SECONDS: Final = 20.0


class ViewsHalted(Exception):
    """The views can't be brought to one position."""


@asynccontextmanager
async def live(dsn: str, projections: Sequence[Projection], registry: Registry) -> AsyncIterator[tuple["Connection[Any]", int]]:
    """Yield a connection that sees all projections at one position, and that position. They are locked for a moment only.

    Raises ViewsHalted.
    """
    holder = await postgres.connect(dsn, "digest", seconds=60)
    try:
        async with _reading(dsn, holder, projections, registry) as (reader, end):
            yield reader, end
    finally:
        holder.terminate()


@asynccontextmanager
async def _reading(
    dsn: str, holder: "Connection[Any]", projections: Sequence[Projection], registry: Registry
) -> AsyncIterator[tuple["Connection[Any]", int]]:
    reader = await postgres.connect(dsn, "digest", seconds=300)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (end := await _settled_at(holder, reader, projections, registry)) is None:
                await asyncio.sleep(0.01)
        await reader.execute("select set_config('search_path', $1, true)", ", ".join(p.schema for p in projections))
        yield reader, end
    except TimeoutError:
        raise ViewsHalted("The views didn't reach one position in time") from None
    finally:
        reader.terminate()


async def _settled_at(
    holder: "Connection[Any]", reader: "Connection[Any]", projections: Sequence[Projection], registry: Registry
) -> int | None:
    """Return where all views stand, if that is one position and the reader sees them there; else bring them on a step."""
    try:
        return await _settle(holder, reader, projections, registry)
    except window.HoleInLog:  # where the log is on several servers, its last events may come in a moment
        return None


async def _settle(
    holder: "Connection[Any]", reader: "Connection[Any]", projections: Sequence[Projection], registry: Registry
) -> int | None:
    """Lock all views; begin the reader's snapshot if they stand at one position, else bring them to one and return None."""
    async with holder.transaction():
        for projection in projections:
            await lock_live(holder, projection)
        positions = [await live_position(holder, projection) for projection in projections]
        furthest = max(positions)
        if min(positions) == furthest:
            await reader.execute("begin isolation level repeatable read read only")
            await reader.execute("select 1")
            return furthest
        for projection, position in zip(projections, positions, strict=True):
            if position < furthest:
                await work_in(holder, projection.schema)
                await window.apply(holder, projection, registry, position, furthest)
    return None


async def fold_afresh(
    connection: "Connection[Any]", projections: Sequence[Projection], registry: Registry, end: int, largest: int = 20_000
) -> None:
    """Fold the log up to `end` into new schemas and let unqualified names mean their tables; the caller rolls them back."""
    schemas = []
    for projection in projections:
        schemas.append(f"{projection.schema}_proof")
        await projection.create(connection, schemas[-1])
        left_out = await window.dropped_positions(connection, projection, end)
        for low in range(0, end, largest):
            await window.apply(connection, projection, registry, low, min(low + largest, end), left_out)
    await connection.execute("select set_config('search_path', $1, true)", ", ".join(schemas))
