"""Bring a database to the schema of this release: the log's migrations, the projections' schemas, and what older logs lack."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncpg import Connection

from events.commands.voters import NameBallots
from events.log import citus, postgres
from events.log import migrate as migrations
from events.log.committer import Committer
from events.log.parts import PART_SIZE, make_room_ahead
from events.registry import REGISTRY
from projections.engine.projection import create_missing
from projections.registry import PROJECTIONS

PATIENCE_SECONDS: Final = 60.0

# The voters who were disqualified since, each with its last correction; one that names a voter a second time took nothing away.
_DISQUALIFIED: Final = """
select d.correction, array_agg(d.voter order by d.voter) as voters
from (
    select distinct on (1) e.data->>'voter' as voter, e.data->>'correction' as correction, e.position
    from log.other_events e
    where e.position > $1 and e.position <= $2 and e.type = 'VoterDisqualified' and not e.data ? 'again'
    order by 1, e.position desc
) d
group by d.correction
order by min(d.position)
"""


async def migrate(dsn: str, part_size: int = PART_SIZE, *, on_citus: bool = False) -> int:
    """Migrate the log, make parts of it ahead, and create missing projections; return how many migrations ran.

    `on_citus` spreads an empty log over the servers that Citus knows; it stays so. Safe to run twice, and from two hosts.
    Raises CitusMissing, LogNotEmpty.
    """
    connection = await postgres.connect(dsn, "migrate")
    try:
        ran = await migrations.migrate(connection, part_size)
        if on_citus:
            await citus.spread(connection)
        await make_room_ahead(connection, part_size)
        await create_missing(connection, PROJECTIONS)
        await name_ballots(dsn, connection)
        return ran
    finally:
        await connection.close()


async def name_ballots(dsn: str, connection: "Connection[Any]") -> int:
    """Name the voided ballots that a log of an older release doesn't name; return their number.

    What was named stays so after a kill, and two at once name each ballot once: a correction's are one command.
    """
    through = await connection.fetchval("select through from log.named_ballots")
    head = await connection.fetchval("select position from log.whole()")
    if head <= through:
        return 0
    rows = await connection.fetch(_DISQUALIFIED, through, head)
    named = await _submit(dsn, {row["correction"]: row["voters"] for row in rows}) if rows else 0
    await connection.execute("update log.named_ballots set through = $1 where through < $1", head)
    return named


async def _submit(dsn: str, corrections: Mapping[str, Sequence[str]]) -> int:
    async with Committer(dsn, REGISTRY, patience=PATIENCE_SECONDS) as committer:
        receipts = [await committer.submit(NameBallots(correction=of, voters=who)) for of, who in corrections.items()]
    return sum(receipt.value for receipt in receipts)
