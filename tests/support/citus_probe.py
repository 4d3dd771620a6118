"""Every statement of the product, planned and run once on a server with Citus, each rolled back: which ones it refuses.

By hand, in a checkout: `DATABASE_URL=… python -m tests.support.citus_probe`, on a database after `ballotpress migrate --citus`
that holds some events. It also tells how often a head is seen before its events, if votes come in meanwhile. `docs/citus.md`
says how to set up three nodes. On plain PostgreSQL it runs as well, and refuses nothing.
"""

import asyncio
import os
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any, Final
from uuid import UUID

import asyncpg

from tests.support.statements import Statement, of_modules, of_views

SECONDS: Final = float(os.environ.get("SECONDS", "10"))
BATCH: Final = 100
"""Positions below the head that are looked for."""

VALUES: Final[dict[str, Any]] = {
    "int8": 5, "int4": 1, "int2": 1, "text": "x", "name": "x", "bool": False, "jsonb": "{}", "uuid": UUID(int=1), "bytea": b"x",
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC), "date": date(2026, 1, 1), "float8": 1.0, "numeric": 1,
    "interval": timedelta(days=1), "interval day to second": timedelta(days=1),
}  # fmt: skip
NOT_RUN: Final = (
    asyncpg.PostgresSyntaxError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.IndeterminateDatatypeError
)  # fmt: skip
"""Of a text that is a part of a statement, or one that needs tables of its own session."""


def value(type_: asyncpg.Type) -> Any:
    """Return some value of a parameter's type."""
    if type_.kind == "array":
        return [VALUES.get(type_.name.removesuffix("[]"), "x")]
    return VALUES.get(type_.name, "x")


async def refusal(connection: "asyncpg.Connection[Any]", statement: Statement) -> Exception | None:
    """Run a statement and take it back; return why the server can't, or None."""
    await connection.execute(f"set search_path = {statement.schema}")
    transaction = connection.transaction()
    await transaction.start()
    try:
        prepared = await connection.prepare(statement.sql)
        await prepared.fetch(*map(value, prepared.get_parameters()), timeout=60)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, *NOT_RUN):
        return None  # planned, and at fault with the values; or none of a server's business
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return error
    finally:
        await transaction.rollback()
    return None


async def late_heads(connection: "asyncpg.Connection[Any]", seconds: float) -> tuple[int, int]:
    """Look at the head and the events below it again and again; return how often, and how often some weren't there yet."""
    looks = missing = 0
    until = monotonic() + seconds
    while monotonic() < until:
        head = await connection.fetchval("select position from log.head")
        low = max(0, head - BATCH)
        there = await connection.fetchval("select count(*) from log.events where position > $1 and position <= $2", low, head)
        looks, missing = looks + 1, missing + (there < head - low)
    return looks, missing


async def main() -> None:
    """Print what is refused, and what was seen of the head."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"], server_settings={"timezone": "UTC"})
    ran = refused = 0
    for statement in [*of_views(), *of_modules()]:
        error = await refusal(connection, statement)
        ran, refused = ran + 1, refused + (error is not None)
        if error is not None:
            print(f"REFUSED {statement.name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    print(f"{ran} statements, {refused} refused")
    looks, missing = await late_heads(connection, SECONDS)
    print(f"{looks} looks at the head, {missing} of them before all its events were there")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
