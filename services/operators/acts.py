"""Acts: what an operator did that is no event, noted at the log's head, best in the transaction of what was done."""

from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

Database: TypeAlias = "Pool[Any] | Connection[Any]"

NOTE: Final = "select operators.note($1, $2, $3, $4, $5)"


async def note(database: Database, by: str, kind: str, subject: str, about: str = "", reason: str = "") -> None:
    """Note an act: its kind, which `deeds` tells in words, the thing done to, what more there is to say, and why."""
    await database.execute(NOTE, by, kind, subject, about, reason)
