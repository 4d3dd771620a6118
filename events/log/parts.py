"""The log's parts: `log.events` is partitioned by ranges of positions, and a part is there before its first event is.

Whoever appends makes sure of that under the head's lock, so no vote is ever refused for want of a part. A clock makes parts
ahead, so that an append hardly ever has to, and packs those that are full.
"""

import asyncio
from time import monotonic
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

Database: TypeAlias = "Connection[Any] | Pool[Any]"

PAUSE_SECONDS: Final = 0.05

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


READ_UNANNOUNCED: Final = """
select c.oid::regclass::text as part from log.parts p
join pg_class c on c.oid = to_regclass(format('log.events_%s', p.part))
where obj_description(c.oid, 'pg_class') is distinct from 'announced' order by p.part
"""
READ_HOLDERS: Final = """
select array_agg(l.virtualtransaction) from pg_locks l
where l.relation = to_regclass('log.events') and l.pid <> pg_backend_pid()
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
"""
ARE_GONE: Final = "select not exists (select from pg_locks l where l.virtualtransaction = any($1::text[]))"
# It changes nothing, under a lock that lets everybody read and append; but whoever has a plan that reads the log makes it anew.
FORGET_PLANS: Final = "alter table only log.events alter column position set statistics -1"

ANNOUNCE_SECONDS: Final = 10.0
"""So long at most statements are waited for that may have been planned before a part was there."""


async def announce(connection: "Connection[Any]", patience: float = ANNOUNCE_SECONDS) -> int:
    """Have all sessions plan anew what reads the log, once none plans from before its newest parts; return how many those are.

    The server itself does that when a part comes, but for the plans that it was just making. Parts beside which somebody reads
    for longer than the patience are announced again by the next call.
    """
    found = [row["part"] for row in await connection.fetch(READ_UNANNOUNCED)]
    if not found:
        return 0
    are_gone = await _await_end(connection, await connection.fetchval(READ_HOLDERS), patience)
    await connection.execute(FORGET_PLANS)
    for part in found if are_gone else ():
        await connection.execute(f"comment on table {part} is 'announced'")
    return len(found)


async def _await_end(connection: "Connection[Any]", transactions: list[str] | None, patience: float) -> bool:
    """Wait for the end of these transactions; return whether all have ended in time."""
    deadline = monotonic() + patience
    while not (are_gone := await connection.fetchval(ARE_GONE, transactions or [])) and monotonic() < deadline:
        await asyncio.sleep(PAUSE_SECONDS)
    return bool(are_gone)


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
