"""Read the tree over the public log, and the entries that it is made of."""

import asyncio
from collections.abc import Iterable
from typing import Final

from events import ballots
from events.log.archive import reading, state
from events.log.event import Registry
from events.log.reads import Reads
from projections.merkle import Coordinates
from projections.registry import named

_BALLOTS: Final = Registry(ballots.EVENTS)

SIZE = named("select position from {proof}.checkpoint")

TILES = named("""
select t.level, t.n, t.hashes
from unnest($1::smallint[], $2::bigint[]) as a(level, n) join {proof}.tiles t on t.level = a.level and t.n = a.n
""")

ENTRIES = "select position, entry from log.entries_taken($1, $2) order by position"


async def size(database: Reads) -> int:
    """Return the number of leaves: the position that the view has reached."""
    found: int = await database.fetchval(SIZE)
    return found


async def tiles(database: Reads, coordinates: Iterable[Coordinates]) -> dict[Coordinates, bytes]:
    """Return these tiles as they are now, without those that don't exist; a smaller tree's tile is a prefix."""
    asked = list(coordinates)
    rows = await database.fetch(TILES, [level for level, _ in asked], [n for _, n in asked])
    return {(row["level"], row["n"]): row["hashes"] for row in rows}


async def entries(database: Reads, after: int, through: int) -> list[bytes]:
    """Return the public entries of the positions after one and up to another, in order.

    Those of archived ballots are read from their files. Raises PlaceUnusable, FileBroken, ArchiveRefused.
    """
    found = {row["position"]: row["entry"].encode() for row in await database.fetch(ENTRIES, after, through)}
    if len(found) < through - after:
        for archive in await state.read_between(database, after + 1, through):
            if archive.state == "packed":
                found |= await asyncio.to_thread(_archived, archive, after + 1, through)
    return [found[position] for position in sorted(found)]


def _archived(archive: state.Archive, first: int, last: int) -> dict[int, bytes]:
    """Return the entries of a part's ballots, by position."""
    return {
        row.position: ballots.public_entry(_BALLOTS.decode(row.type, 1, bytes(row.data)), row.recorded_at).encode()
        for row in reading.read_some(archive, range(first, last + 1))
        if row.type in _BALLOTS.types
    }
