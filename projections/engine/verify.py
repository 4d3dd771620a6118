"""Compare a projection with a fresh fold of the log, by key, in SQL and in one snapshot. Nothing live is touched.

The fresh tables of `verify` are temporary: they write no WAL and are gone with the session, however it ends.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from asyncpg import Connection
from msgspec.structs import replace

from events.log.archive.present import Present
from events.log.event import Registry
from events.log.postgres import EventsArchived
from projections.engine import ranges
from projections.engine.folding import WINDOW, Folding, Jobs, Pace, Report, Work
from projections.engine.projection import Projection, connect_patiently, holding_live, live_position

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

TEMPORARY = "select nspname from pg_namespace where oid = pg_my_temp_schema()"

# So that the comparison, and the first reads after a switch, are planned with statistics.
ANALYZE = """
do $$
declare
    t regclass;
begin
    for t in
        select c.oid from pg_class c join pg_class k on k.relnamespace = c.relnamespace
        where k.oid = 'checkpoint'::regclass and c.relkind = 'r'
    loop
        execute format('analyze %s', t);
    end loop;
end $$
"""


class RowDifference(msgspec.Struct, frozen=True):
    """A row as the live table has it and as it should be; None where that side lacks it.

    `events` are positions of some of the events behind the row, where they were asked for.
    """

    table: str
    key: dict[str, Any]
    live: dict[str, Any] | None
    right: dict[str, Any] | None
    events: Sequence[int] = ()


class TableDifference(msgspec.Struct, frozen=True):
    """The number of differing rows of a table, and some of them."""

    table: str
    count: int
    rows: Sequence[RowDifference]


class Diff(msgspec.Struct, frozen=True):
    """The differences between live and right tables, both at `position`; `tables` is empty when there are none."""

    position: int
    tables: Sequence[TableDifference]

    @property
    def count(self) -> int:
        """Return the number of differing rows."""
        return sum(table.count for table in self.tables)


# Returns, in order, the last positions up to one of the events behind a row.
Source = Callable[["Connection[Any]", RowDifference, int], Awaitable[Sequence[int]]]


async def verify(
    dsn: str,
    projection: Projection,
    registry: Registry,
    sources: Mapping[str, Source],
    report: Report = lambda _: None,
    jobs: Jobs | None = None,
    window: int = WINDOW,
    present: Present | None = None,
) -> Diff:
    """Return the differences between the live tables and the log, with some of the events behind each row.

    `sources` finds the events for a row of each table. `present` loads archived parts, also for other views that are compared
    beside this one. Raises Halted at an event that can't be folded.
    """
    connection = await connect_patiently(dsn, "pg_temp")
    try:
        await projection.make_tables(connection)
        schema = await connection.fetchval(TEMPORARY)
        work = Work(dsn, projection, registry, Pace(pause=0, window=window), report, jobs or Jobs(), present)
        await ranges.begin_temporary(connection, work)
        await Folding(connection, work).nearly()
        async with work.jobs.room:
            return await with_events(connection, await compare(connection, work, schema), sources)
    finally:
        await connection.close()


async def compare(connection: "Connection[Any]", work: Work, schema: str) -> Diff:
    """Fold the rest while the live checkpoint is held, and compare `schema` with the live tables as of that moment."""
    await connection.execute(ANALYZE)
    async with holding_live(work.dsn, work.projection):
        position = await Folding(connection, work).rest()
        live = await live_position(connection, work.projection)
        snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
        await snapshot.start()
        await connection.fetchval("select position from checkpoint")  # takes the snapshot
    try:
        return await differences(connection, work.projection.schema, schema, position, live)
    finally:
        await snapshot.rollback()


async def differences(connection: "Connection[Any]", live: str, right: str, position: int, live_position: int) -> Diff:
    """Compare every table of two schemas, and their checkpoints, in the connection's transaction."""
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
    either = live or right or {}
    return RowDifference(table, {column: either[column] for column in key}, live, right)


async def with_events(connection: "Connection[Any]", diff: Diff, sources: Mapping[str, Source]) -> Diff:
    """Return a difference with some of the events behind each row."""
    return replace(diff, tables=[await _with_events(connection, table, sources, diff.position) for table in diff.tables])


async def _with_events(
    connection: "Connection[Any]", table: TableDifference, sources: Mapping[str, Source], position: int
) -> TableDifference:
    if (source := sources.get(table.table)) is None:  # the checkpoint's
        return table
    return replace(table, rows=[replace(row, events=await _behind(source, connection, row, position)) for row in table.rows])


async def _behind(source: Source, connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    """Return some of the events behind a row; none if they are looked for in the archive."""
    try:
        return await source(connection, row, position)
    except EventsArchived:
        return ()
