"""The log's parts: `log.events` is partitioned by ranges of positions, and a part is there before its first event is.

Whoever appends makes sure of that under the head's lock, so no vote is ever refused for want of a part. A clock makes parts
ahead, so that an append hardly ever has to.
"""

from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

Database: TypeAlias = "Connection[Any] | Pool[Any]"

PART_SIZE: Final = 10_000_000
"""Positions in a part, unless somebody asks for another size."""

MAKE_ROOM: Final = "select log.make_room($1::bigint)"
MAKE_ROOM_AHEAD: Final = "select log.make_room(h.position + $1::bigint, $1::bigint) from log.head h"


async def make_room(connection: "Connection[Any]", through: int) -> int:
    """Make the parts that positions up to `through` need; return the last position that there is room for."""
    room: int = await connection.fetchval(MAKE_ROOM, through)
    return room


async def make_room_ahead(database: Database, size: int = PART_SIZE) -> int:
    """Make parts of `size` positions until that many more events have room; return the last position that there is room for."""
    room: int = await database.fetchval(MAKE_ROOM_AHEAD, size)
    return room
