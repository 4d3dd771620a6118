"""Fold the log afresh and compare with the live view, by key, in one snapshot. Nothing live is touched.

The fresh tables are temporary: they write no log of PostgreSQL's and are gone with the session, however it ends.
"""

from events.log.event import Registry
from projections.engine.concerned import add_events
from projections.engine.diff import Diff
from projections.engine.projection import Projection
from projections.engine.rebuild import Folding, Pace, Report, compared
from projections.engine.schemas import open_on

TEMPORARY = "select nspname from pg_namespace where oid = pg_my_temp_schema()"


async def verify(dsn: str, projection: Projection, registry: Registry, report: Report = lambda _: None) -> Diff:
    """Give what differs between the live view and the log, with some of the events concerned.

    Halted where an event that the live view has taken cannot be.
    """
    connection = await open_on(dsn, "pg_temp")
    try:
        await projection.make_tables(connection)
        schema = await connection.fetchval(TEMPORARY)
        folding = Folding(connection, projection, registry, Pace(pause=0), report)
        await folding.nearly()
        found = await compared(dsn, connection, folding, projection, schema)
        return await add_events(connection, found)
    finally:
        await connection.close()
