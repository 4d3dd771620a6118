"""A log in small parts, of many ballots and of what stands among them; and its parts in the archive."""

import asyncio
import random
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg import Connection, Record

from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.log.archive import packing
from events.log.archive.places import place_of
from events.log.archive.state import Archive
from services.clock import now
from tests.support.catalogs import new_id
from tests.support.log import add_tools, patient
from tests.support.parts import make_small
from tests.support.runners import catch_up_all

SIZE = 200
PARTS = 2
SLUGS = ("one", "two", "three")
VOTERS = [new_id() for _ in range(50)]

# Every event that is asked for by voter, as the log's functions give it.
OF_VOTERS = """
select e.stream, e.version, e.position, e.type, e.schema_version, e.data, e.meta, e.recorded_at
from unnest($1::text[]) v cross join lateral log.between_streams(log.first_stream(v), log.last_stream(v)) e
order by e.position
"""
ALL = "select * from log.events order by position"


async def fill(dsn: str) -> None:
    """Fill some small parts and begin another, with views that have taken all in, and all looked through for bought votes."""
    connection = await asyncpg.connect(dsn)
    await make_small(connection, SIZE)
    async with patient(dsn) as committer:
        await add_tools(committer, *SLUGS)
        some = random.Random(15)
        while (await connection.fetchval("select position from log.head")) <= SIZE * PARTS:
            await asyncio.gather(*(committer.submit(_anything(some)) for _ in range(25)))
    await catch_up_all(dsn)
    await connection.execute("update integrity.scans set scanned_to = now()")
    await connection.close()


def _anything(some: random.Random) -> CastVote | SetBookmark:
    """Return what one of the voters may do."""
    voter, slug = some.choice(VOTERS), some.choice(SLUGS)
    if some.random() < 0.1:
        return SetBookmark(voter, slug, some.random() < 0.7)
    return CastVote(voter, slug, some.choice(("ship", "skip", None)))


async def of_voters(connection: "Connection[Any]") -> list[Record]:
    """Return all events of the voters' own streams."""
    return list(await connection.fetch(OF_VOTERS, VOTERS))


async def archive(connection: "Connection[Any]", place: str | Path, part: int = 0, **options: Any) -> Archive:
    """Archive a part, however young it is."""
    filing = packing.Filing(place_of(str(place)), now, lambda _: None)
    return await packing.archive(connection, part, filing, **{"young": True, **options})
