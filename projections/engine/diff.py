"""Compare two sets of a view's tables by primary key, in SQL: what differs, how much, and a few of each."""

from collections.abc import Sequence
from typing import Any

import msgspec
from asyncpg import Connection

# Of each table, at most this many differing rows are shown; all are counted.
SHOWN = 20

READ_KEYS = """
select t.relname::text as name,
       array(select a.attname::text from unnest(k.conkey) with ordinality as c(attnum, n)
             join pg_attribute a on a.attrelid = t.oid and a.attnum = c.attnum order by c.n) as key
from pg_namespace n
join pg_class t on t.relnamespace = n.oid and t.relkind = 'r'
join pg_constraint k on k.conrelid = t.oid and k.contype = 'p'
where n.nspname = $1 and t.relname <> 'checkpoint'
order by t.relname
"""

# The server puts the identifiers in: live and right schema, table, and the columns of its key.
STATEMENT = """
select format(
    $q$
    select to_jsonb(l)::text as live, to_jsonb(r)::text as "right", count(*) over () as total
    from %1$I.%3$I l full join %2$I.%3$I r using (%4$s)
    where l is distinct from r
    order by %4$s limit $1
    $q$,
    $1::text, $2::text, $3::text, (select string_agg(format('%I', c), ', ') from unnest($4::text[]) c))
"""


class RowDifference(msgspec.Struct, frozen=True):
    """A row that the live view has otherwise than it should: None where it is missing on that side.

    `events` are positions of some of the events concerned, where they were asked for.
    """

    table: str
    key: dict[str, Any]
    live: dict[str, Any] | None
    right: dict[str, Any] | None
    events: Sequence[int] = ()


class TableDifference(msgspec.Struct, frozen=True):
    """How many rows of a table differ, and some of them."""

    table: str
    count: int
    rows: Sequence[RowDifference]


class Diff(msgspec.Struct, frozen=True):
    """What differs between the live view and the right one, both at `position`; no tables when nothing does."""

    position: int
    tables: Sequence[TableDifference]

    @property
    def count(self) -> int:
        """How many rows differ in all."""
        return sum(table.count for table in self.tables)


async def differences(connection: "Connection[Any]", live: str, right: str, position: int, live_position: int) -> Diff:
    """Compare every table of two schemas, and where they stand, in the connection's transaction."""
    found = []
    if live_position != position:
        moved = RowDifference("checkpoint", {}, {"position": live_position}, {"position": position})
        found.append(TableDifference("checkpoint", 1, [moved]))
    for table in await connection.fetch(READ_KEYS, right):
        statement = await connection.fetchval(STATEMENT, live, right, table["name"], table["key"])
        rows = await connection.fetch(statement, SHOWN)
        if rows:
            found.append(TableDifference(table["name"], rows[0]["total"], [_row(table["name"], table["key"], r) for r in rows]))
    return Diff(position, found)


def _row(table: str, key: Sequence[str], row: Any) -> RowDifference:
    live: dict[str, Any] | None = msgspec.json.decode(row["live"]) if row["live"] else None
    right: dict[str, Any] | None = msgspec.json.decode(row["right"]) if row["right"] else None
    named = live or right or {}
    return RowDifference(table, {column: named[column] for column in key}, live, right)
