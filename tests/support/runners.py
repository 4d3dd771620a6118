"""What the tests of views share: views brought up to the head, rebuilt beside the live ones, and told from the log."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeAlias

import asyncpg

from events.log import store
from events.log.tasks import end
from events.registry import REGISTRY
from projections.engine.folding import Jobs, Pace
from projections.engine.projection import Projection, connect, work_in
from projections.engine.rebuild import Rebuild
from projections.engine.runner import Runner, advance
from projections.engine.window import dropped_positions
from projections.registry import PROJECTIONS
from tests.oracle import compare
from tests.oracle.entries import entry_from
from tests.oracle.fold import Tables, fold
from tests.support.processes import PATIENCE

Connection: TypeAlias = "asyncpg.Connection[Any]"

CARDS = PROJECTIONS[0]
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)

APPEND_UNKNOWN = """
with head as (update log.head set position = position + 1 returning position)
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select gen_random_uuid(), head.position, clock_timestamp(), 1, 1, 'FromTheFuture', '{"tool": "[bold]"}' from head
returning position
"""
"""Appends an event that no view can take; returns its position."""


async def catch_up(dsn: str, projection: Projection, sizes: Iterable[int] = (20_000,), schema: str | None = None) -> None:
    """Take the log into a view in windows of these sizes, over and over, up to the head."""
    connection = await connect(dsn, schema or projection.schema)
    try:
        await advance_to_head(connection, projection, sizes)
    finally:
        await connection.close()


async def advance_to_head(connection: Connection, projection: Projection, sizes: Iterable[int]) -> None:
    """Take the log into the view that a session works in, up to the head."""
    for size in itertools.cycle(sizes):
        advanced = await advance(connection, projection, REGISTRY, size)
        if advanced.end == advanced.head:
            return


@asynccontextmanager
async def worker(dsn: str) -> AsyncIterator[Connection]:
    """Open one session to fold all views in: one for each would cost the server twice as much."""
    connection = await connect(dsn, PROJECTIONS[0].schema)
    try:
        yield connection
    finally:
        await connection.close()


async def catch_up_all(dsn: str, sizes: Iterable[int] = (20_000,)) -> None:
    """Take the log into every view, up to the head."""
    async with worker(dsn) as session:
        for projection in PROJECTIONS:
            await catch_up_in(session, projection.schema, projection, sizes)


async def catch_up_in(session: Connection, schema: str, projection: Projection, sizes: Iterable[int]) -> None:
    """Take the log into a view of this schema up to the head, in a worker's session."""
    await work_in(session, schema)
    await advance_to_head(session, projection, sizes)


async def rebuild(connection: Connection, dsn: str, projection: Projection, sizes: Iterable[int] = (20_000,)) -> str:
    """Build a view afresh beside the live one; give its schema."""
    async with worker(dsn) as session:
        return await rebuild_in(session, connection, projection, sizes)


async def rebuild_in(
    session: Connection, connection: Connection, projection: Projection, sizes: Iterable[int] = (20_000,)
) -> str:
    """Do the same in a worker's session."""
    schema = f"{projection.schema}_next"
    await projection.create(connection, schema)
    await catch_up_in(session, schema, projection, sizes)
    return schema


async def in_ranges(dsn: str, projection: Projection, size: int, jobs: int = 2) -> str:
    """Build a view afresh beside the live one, ranges of it side by side; give its schema."""
    made = Rebuild(dsn, projection, REGISTRY, pace=Pace(pause=0, window=size, nearly=0), jobs=Jobs(jobs))
    await made.prepare()
    await made.catch_up()
    return projection.next_schema


async def tables(connection: Connection, schema: str) -> Tables:
    """Read a view's tables; those without rows are left out."""
    read: Tables = {}
    async with connection.transaction():
        async for table, key, row in compare.rows(connection, schema):
            read.setdefault(table, {})[key] = row
    return read


async def told_by_the_log(connection: Connection) -> dict[str, Tables]:
    """Fold the whole log in Python; tables without rows are left out, as `tables` leaves them out."""
    dropped = {p.name: await dropped_positions(connection, p) for p in PROJECTIONS}
    records = await connection.fetch(store.ROWS + " order by position")
    entries = [entry_from(REGISTRY, record) for record in records]
    folded = fold(entries, dropped)
    return {name: {table: rows for table, rows in told.items() if rows} for name, told in folded.items()}


async def must_be_right(connection: Connection, dsn: str, projections: Iterable[Projection] = PROJECTIONS) -> None:
    """Assert of views that live = rebuilt = fold; each must have reached the head."""
    async with worker(dsn) as session:
        for projection in projections:
            assert await compare.differences(connection, projection, REGISTRY) == []
            rebuilt = await rebuild_in(session, connection, projection)
            assert await tables(connection, rebuilt) == await tables(connection, projection.schema), projection.name


def runner(dsn: str, projection: Projection = CARDS, poll: float = 0.05, **options: Any) -> Runner:
    return Runner(dsn, projection, REGISTRY, clock=lambda: NOW, poll=poll, **options)


@asynccontextmanager
async def running(*runners: Runner) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Let runners run for a while."""
    tasks = [asyncio.create_task(one.run()) for one in runners]
    try:
        yield tasks
    finally:
        await end(*tasks)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    deadline = monotonic() + PATIENCE
    while not await true():
        assert monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def at_head(connection: Any, schemas: Sequence[str] = tuple(p.schema for p in PROJECTIONS)) -> bool:
    head = await connection.fetchval("select position from log.head")
    positions = [(await checkpoint(connection, schema))["position"] for schema in schemas]
    return all(position == head for position in positions)


async def checkpoint(connection: Any, schema: str) -> Any:
    await connection.execute("select set_config('search_path', $1, false)", schema)
    return await connection.fetchrow("select position, caught_up, halted_position, halted_error, halted_since from checkpoint")
