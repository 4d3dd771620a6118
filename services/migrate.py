"""Bring a database to the schema of this release: the log's migrations, then the projections' schemas."""

from events.log import migrate as migrations
from events.log import postgres
from projections.engine.projection import create_missing
from projections.registry import PROJECTIONS


async def migrate(dsn: str) -> int:
    """Migrate the log and create missing projections; return how many migrations ran.

    It is safe to run twice, and from two hosts at once.
    """
    connection = await postgres.connect(dsn, "migrate")
    try:
        ran = await migrations.migrate(connection)
        await create_missing(connection, PROJECTIONS)
        return ran
    finally:
        await connection.close()
