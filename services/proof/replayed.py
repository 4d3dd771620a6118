"""Whether tiles that were made anew, or kept from before, still say what was signed: asked before they go live."""

from typing import Any

from asyncpg import Connection

from projections import merkle
from projections.engine.projection import Projection, connect

# Of the present log, the newest checkpoint, and the newest that these tables reach.
_SIGNED = """
select c.size, c.root from proof.checkpoints c
where c.log = (select max(l.log) from proof.log l) and c.size <= (select k.position from checkpoint k)
order by c.size desc limit 1
"""
_TILES = """
select t.level, t.n, t.hashes
from unnest($1::smallint[], $2::bigint[]) as a(level, n) join tiles t on t.level = a.level and t.n = a.n
"""


class BeliesSigned(Exception):
    """The tiles contradict what was signed; the message is the sentence for an operator."""


async def contradiction(dsn: str, projection: Projection, schema: str) -> BeliesSigned | None:
    """Return how the tiles of a schema contradict the newest checkpoint that they reach; None if they don't, or none is signed.

    A projection other than the tree contradicts nothing.
    """
    if not projection.whole:
        return None
    connection = await connect(dsn, schema, "replay")
    try:
        signed = await connection.fetchrow(_SIGNED)
        if signed is None or await _root(connection, signed["size"]) == signed["root"]:
            return None
        return BeliesSigned(
            f"ALARM: these tiles contradict the checkpoint of {signed['size']} entries that was signed, so they don't go live:"
            " the log was changed; `ballotpress verify proof` names the positions, restore them from a backup"
        )
    finally:
        await connection.close()


async def _root(connection: "Connection[Any]", size: int) -> bytes:
    asked = merkle.tiles_for_root(size)
    rows = await connection.fetch(_TILES, [level for level, _ in asked], [n for _, n in asked])
    return merkle.root(size, {(row["level"], row["n"]): row["hashes"] for row in rows})
