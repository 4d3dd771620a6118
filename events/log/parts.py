"""The log's parts: `log.events` is partitioned by ranges of positions, and a part is there before its first event is.

Whoever appends makes sure of that under the head's lock, so no vote is ever refused for want of a part. A clock makes parts
ahead, so that an append hardly ever has to, and packs those that are full.
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


_LOCK_KEY: Final = 0x7061636B

# A full part never changes again, so its keys need no room for what comes between their entries. `packed` is said of an index
# once it was made anew; what a build that was cut short left is no use to anybody.
READ_UNPACKED: Final = """
select c.oid::regclass::text as part, n.nspname || '.' || quote_ident(x.relname) as index, i.indisvalid as is_whole
from log.parts p
cross join log.head h
join pg_class c on c.oid = to_regclass(format('log.events_%s', p.part))
join pg_index i on i.indrelid = c.oid and i.indisunique
join pg_class x on x.oid = i.indexrelid
join pg_namespace n on n.oid = x.relnamespace
where p.last_position <= h.position and obj_description(x.oid, 'pg_class') is distinct from 'packed'
order by i.indisvalid, p.part, x.relname
"""

# The server's own vacuum keeps statistics of each part, and none of the whole.
IS_UNKNOWN: Final = """
select h.position > 1.1 * greatest(c.reltuples, 0) from log.head h join pg_class c on c.oid = to_regclass('log.events')
"""


async def keep(connection: "Connection[Any]") -> int:
    """Pack the indexes of parts that are full, and keep statistics of the whole log; return how many indexes were packed.

    Votes go on. What is cut short is done anew by the next call; of several at once one does it.
    """
    if not await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK_KEY):
        return 0
    try:
        if await connection.fetchval(IS_UNKNOWN):
            await connection.execute("analyze log.events")
        return await _pack(connection)
    finally:
        await connection.execute("select pg_advisory_unlock($1)", _LOCK_KEY)


async def _pack(connection: "Connection[Any]") -> int:
    """Write the keys of full parts anew without a gap, which takes them to half their size, and freeze the parts' rows."""
    packed = 0
    for part, index, is_whole in await connection.fetch(READ_UNPACKED):
        if not is_whole:
            await connection.execute(f"drop index concurrently {index}")
            continue
        await connection.execute(f"vacuum (freeze) {part}")
        await connection.execute(f"alter index {index} set (fillfactor = 100)")
        await connection.execute(f"reindex index concurrently {index}")
        await connection.execute(f"comment on index {index} is 'packed'")
        packed += 1
    return packed
