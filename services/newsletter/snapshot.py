"""All views at one position, so that an issue's facts are of one moment of the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from asyncpg import Connection

from events.log import postgres
from events.registry import REGISTRY
from projections.engine import window
from projections.engine.projection import work_in
from projections.registry import PROJECTIONS
from services.newsletter import facts
from services.newsletter.facts import Content

PATIENCE_SECONDS: Final = 20.0


class ViewsHalted(Exception):
    """The views can't be brought to one position."""


async def compile_content(dsn: str, start: int) -> tuple[int, Content]:
    """Compile the content of an issue that begins after `start`; return its cut-off too. Raises ViewsHalted."""
    async with snapshot(dsn) as (connection, end):
        return end, await facts.read(connection, start, end)


async def compile_afresh(connection: "Connection[Any]", start: int, end: int, largest: int = 20_000) -> Content:
    """Compile the period `(start, end]` from views folded for it alone, in schemas that the caller rolls back."""
    schemas = []
    for projection in PROJECTIONS:
        schemas.append(f"{projection.schema}_proof")
        await projection.create(connection, schemas[-1])
        left_out = await facts.dropped(connection, projection.name, end)
        for low in range(0, end, largest):
            await window.apply(connection, projection, REGISTRY, low, min(low + largest, end), left_out)
    await connection.execute("select set_config('search_path', $1, true)", ", ".join(schemas))
    return await facts.read(connection, start, end)


@asynccontextmanager
async def snapshot(dsn: str) -> AsyncIterator[tuple["Connection[Any]", int]]:
    """Yield a connection that sees all views at one position, and that position. The views are locked for a moment only."""
    holder = await postgres.connect(dsn, "digest", seconds=60)
    reader = await postgres.connect(dsn, "digest", seconds=300)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (end := await _settled_at(holder, reader)) is None:
                await asyncio.sleep(0.01)
        await reader.execute("select set_config('search_path', $1, true)", ", ".join(p.schema for p in PROJECTIONS))
        yield reader, end
    except TimeoutError:
        raise ViewsHalted("The views didn't reach one position in time: see `ballotpress status`") from None
    finally:
        reader.terminate()
        holder.terminate()


async def _settled_at(holder: "Connection[Any]", reader: "Connection[Any]") -> int | None:
    """Lock all views; begin the reader's snapshot if they stand at one position, else bring them to one and return None."""
    async with holder.transaction():
        positions = [
            await holder.fetchval(f'select position from "{p.schema}".checkpoint for update')  # noqa: S608 - a projection's name
            for p in PROJECTIONS
        ]
        furthest: int = max(positions)
        if min(positions) == furthest:
            await reader.execute("begin isolation level repeatable read read only")
            await reader.execute("select 1")
            return furthest
        for projection, position in zip(PROJECTIONS, positions, strict=True):
            if position < furthest:
                await work_in(holder, projection.schema)
                left_out = await window.dropped_positions(holder, projection)
                await window.apply(holder, projection, REGISTRY, position, furthest, left_out)
    return None
