"""A log in parts so small that tests fill several."""

from typing import Any

from asyncpg import Connection

MAKE_SMALL = """
do $$ declare part integer; begin
    for part in select p.part from log.parts p loop
        execute format('drop table log.%I', 'events_' || part);
    end loop;
    delete from log.parts;
end $$
"""


async def make_small(connection: "Connection[Any]", size: int) -> None:
    """Let the first part of an empty log hold this many positions, and with it every later one."""
    await connection.execute(MAKE_SMALL)
    await connection.execute("select log.make_part(1, $1)", size)
