"""Acts: what an operator did that is no event, noted at the log's head, best in the transaction of what was done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from events.log import postgres
from services.operators.deeds import BEGUN

Database: TypeAlias = "Pool[Any] | Connection[Any]"

NOTE: Final = "select operators.note($1, $2, $3, $4, $5)"
NOTED: Final = "select currval(pg_get_serial_sequence('operators.acts', 'id'))"
FINISH: Final = """
update operators.acts a set about = $2, position = h.position, at = clock_timestamp() from log.head h where a.id = $1
"""
WITHDRAW: Final = "delete from operators.acts where id = $1"


async def note(database: Database, by: str, kind: str, subject: str, about: str = "", reason: str = "") -> None:
    """Note an act: its kind, which `deeds` tells in words, the thing done to, what more there is to say, and why."""
    await database.execute(NOTE, by, kind, subject, about, reason)


class Doing:
    """An act that is being done; `about` is what there will be to say of it."""

    about: str = ""


@asynccontextmanager
async def doing(connection: "Connection[Any]", by: str, kind: str, subject: str) -> AsyncIterator[Doing]:
    """Note an act that has transactions of its own, before it is done; and then, what came of it.

    One that is refused leaves no line. If the process is killed, or the server fails, the line says that it was begun.
    """
    await note(connection, by, kind, subject, BEGUN)
    id_: int = await connection.fetchval(NOTED)
    act = Doing()
    try:
        yield act
    except postgres.FAILED:
        raise
    except Exception:
        await connection.execute(WITHDRAW, id_)
        raise
    await connection.execute(FINISH, id_, act.about)
