"""Compare a view with a fold of the log, in one snapshot: the checkpoint, the view's tables, and the log up to that position.

Nothing is locked; everything is streamed, so only the folded view is held in memory.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from asyncpg import Connection

from events.log.event import Registry
from projections.engine import window
from projections.engine.projection import Projection
from tests.oracle.entries import entry_from
from tests.oracle.fold import FOLDS, Fold, Key, Row

# Read through a cursor: this many rows a round trip.
_AT_ONCE = 2_000

# The statements that read a schema's tables whole, made by the server, which knows the columns and how to quote; with the
# columns of each primary key in their order.
READ_TABLES = """
select t.relname as name,
       format('select * from %I.%I', n.nspname, t.relname) as statement,
       array(select a.attname::text from unnest(k.conkey) with ordinality as c(attnum, n)
             join pg_attribute a on a.attrelid = t.oid and a.attnum = c.attnum order by c.n) as key
from pg_namespace n
join pg_class t on t.relnamespace = n.oid and t.relkind = 'r'
join pg_constraint k on k.conrelid = t.oid and k.contype = 'p'
where n.nspname = $1 and t.relname <> 'checkpoint'
order by t.relname
"""

READ_CHECKPOINT = "select position from checkpoint"

READ_LOG = """
select position, stream, version, type, schema_version, data, meta, recorded_at
from log.recorded_events
where position <= $1 and position <> all($2::bigint[]) and type = any($3::text[])
order by position
"""


class Difference(msgspec.Struct, frozen=True):
    """A row that is not as it should be: `live` is None where it is missing, `right` where it should not be."""

    table: str
    key: Key
    live: Row | None
    right: Row | None


async def differences(
    connection: "Connection[Any]", projection: Projection, registry: Registry, schema: str | None = None
) -> list[Difference]:
    """Fold the log to the view's checkpoint and give every row that differs, none when the view is right.

    `schema` names the tables to look at, the live ones if none is given. The connection must not be in a transaction.
    UnknownEvent when the log holds an event that this release cannot read and that the projection has not passed over.
    """
    schema = schema or projection.schema
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("select set_config('search_path', $1, true)", schema)
        view = await _folded(connection, projection, registry)
        right = view.tables()
        found: list[Difference] = []
        async for table, key, live in rows(connection, schema):
            expected = right.get(table, {}).pop(key, None)
            if live != expected:
                found.append(Difference(table, key, live, expected))
        missing = [Difference(table, key, None, row) for table, kept in right.items() for key, row in kept.items()]
        return found + missing


async def _folded(connection: "Connection[Any]", projection: Projection, registry: Registry) -> Fold:
    """Fold the log up to the checkpoint of the connection's search_path."""
    position = await connection.fetchval(READ_CHECKPOINT)
    dropped = await window.dropped_positions(connection, projection)
    view = FOLDS[projection.name]()
    types = [type_.__name__ for type_ in view.concerns]
    async for row in connection.cursor(READ_LOG, position, dropped, types, prefetch=_AT_ONCE):
        view.take(entry_from(registry, row))
    return view


async def rows(connection: "Connection[Any]", schema: str) -> AsyncIterator[tuple[str, Key, Row]]:
    """Give every row of a schema's tables, but the checkpoint's, with its table and primary key; needs a transaction."""
    for table in await connection.fetch(READ_TABLES, schema):
        async for row in connection.cursor(table["statement"], prefetch=_AT_ONCE):
            yield table["name"], tuple(row[column] for column in table["key"]), dict(row)
