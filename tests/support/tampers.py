"""Changes of a log's database that only somebody with all rights to it can make, each as small as can be."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from asyncpg import Connection

Tamper = Callable[["Connection[Any]"], Awaitable[int]]
"""Changes something; returns the first position that is not what it was, 0 where none is."""

TABLES: Final = ("log.events", "proof.checkpoints", "proof.log")


async def disarm(connection: "Connection[Any]") -> None:
    """Take the triggers away that refuse changes."""
    for table in TABLES:
        await connection.execute(f"alter table {table} disable trigger user")


async def a_vote(connection: "Connection[Any]", more: str = "") -> int:
    """Find a vote in the middle of the log."""
    position: int = await connection.fetchval(
        f"select position from log.events where type = 'VoteCast' and position > 100 {more} order by position limit 1"  # noqa: S608
    )
    return position


async def flip_a_choice(connection: "Connection[Any]") -> int:
    """Make a ship of a skip."""
    position = await a_vote(connection, "and data->>'choice' = 'skip'")
    await connection.execute(
        "update log.events set data = data || jsonb_build_object('choice', 'ship') where position = $1", position
    )
    return position


async def change_previous(connection: "Connection[Any]") -> int:
    """Say that a changed vote stood elsewhere before."""
    position = await a_vote(connection, "and data ? 'previous'")
    await connection.execute(
        "update log.events set data = data || jsonb_build_object('previous', data->'choice') where position = $1", position
    )
    return position


async def change_a_minute(connection: "Connection[Any]") -> int:
    """Back-date a vote by an hour."""
    position = await a_vote(connection)
    await connection.execute(
        "update log.events set recorded_at = recorded_at - interval '1 hour' where position = $1", position
    )
    return position


async def swap_two(connection: "Connection[Any]") -> int:
    """Let two votes change places."""
    position = await a_vote(connection)
    for was, now in ((position, -1), (position + 1, position), (-1, position + 1)):
        await connection.execute("update log.events set position = $2 where position = $1", was, now)
    return position


async def _shift(connection: "Connection[Any]", after: int, by: int) -> None:
    """Renumber all events after a position."""
    await connection.execute("update log.events set position = -position where position > $1", after)
    await connection.execute("update log.events set position = -position + $1 where position < 0", by)
    await connection.execute("update log.head set position = position + $1", by)


async def delete_one_and_renumber(connection: "Connection[Any]") -> int:
    """Let a vote never have been."""
    position = await a_vote(connection)
    await connection.execute("delete from log.events where position = $1", position)
    await _shift(connection, position, -1)
    return position


async def insert_one(connection: "Connection[Any]") -> int:
    """Let somebody have voted long ago."""
    position = await a_vote(connection)
    await _shift(connection, position - 1, 1)
    await connection.execute(
        """
        insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
        select gen_random_uuid(), $1::bigint, recorded_at, 1, 1, 'VoteCast', data || '{"voter": "AaMYXFABcACAAAAAAAAAAQ"}'
        from log.events where position = $1 + 1
        """,
        position,
    )
    return position


async def delete_the_last(connection: "Connection[Any]") -> int:
    """Let the last event never have been."""
    position: int = await connection.fetchval("select position from log.head")
    await connection.execute("delete from log.events where position = $1", position)
    await connection.execute("update log.head set position = position - 1")
    return position


async def change_a_correction(connection: "Connection[Any]") -> int:
    """Let a correction have voided other ballots."""
    position: int = await connection.fetchval("select min(position) from log.events where type = 'BallotsVoided'")
    await connection.execute(
        """
        update log.events set data = jsonb_set(data, '{ballots,0}', to_jsonb((data->'ballots'->>0)::bigint - 1))
        where position = $1
        """,
        position,
    )
    return position


async def change_a_rename(connection: "Connection[Any]") -> int:
    """Let a tool have taken another slug than it did."""
    position: int = await connection.fetchval("select min(position) from log.events where type = 'ToolRenamed'")
    await connection.execute("""update log.events set data = data || '{"slug": "another"}' where position = $1""", position)
    return position


EVENTS: Final[tuple[Tamper, ...]] = (
    flip_a_choice, change_previous, change_a_minute, swap_two, delete_one_and_renumber, insert_one, change_a_correction,
    change_a_rename, delete_the_last,
)  # fmt: skip

SHORTER: Final = (delete_one_and_renumber, delete_the_last)
"""Those after which the log ends before what was published."""


async def _flip_a_bit(connection: "Connection[Any]", n: int, leaf: int) -> int:
    bit = 256 * leaf + 5
    await connection.execute(
        "update proof_1.tiles set hashes = set_bit(hashes, $2, 1 - get_bit(hashes, $2)) where level = 0 and n = $1", n, bit
    )
    return 256 * n + leaf + 1


async def flip_a_bit_of_a_full_tile(connection: "Connection[Any]") -> int:
    """Change one bit of a leaf's hash, in a tile that no signature needs any more."""
    return await _flip_a_bit(connection, 0, 150)


async def flip_a_bit_of_the_last_tile(connection: "Connection[Any]") -> int:
    """Change one bit of a leaf's hash, in the tile that grows."""
    return await _flip_a_bit(connection, 1, 3)


TILES: Final = (flip_a_bit_of_a_full_tile, flip_a_bit_of_the_last_tile)


async def change_a_checkpoint(connection: "Connection[Any]") -> int:
    """Let the last checkpoint have another root."""
    await connection.execute(
        """
        update proof.checkpoints
        set root = set_byte(root, 0, 255 - get_byte(root, 0)),
            note = replace(note, encode(root, 'base64'), encode(set_byte(root, 0, 255 - get_byte(root, 0)), 'base64'))
        where size = (select max(size) from proof.checkpoints)
        """
    )
    return 0
