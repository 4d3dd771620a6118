"""How far the views are behind the log."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from events.log import postgres
from projections.registry import PROJECTIONS


class ViewState(msgspec.Struct, frozen=True):
    """How a view stands: its checkpoint, how many events it is behind, where and why it halted, and what is wrong."""

    name: str
    position: int
    lag: int
    caught_up: bool
    halted_position: int | None
    halted_error: str | None
    drift: str | None


def _states_sql() -> str:
    # Schemas are made of projections' names and versions, never of input; an identifier cannot be a parameter.
    one = (
        "select '{name}' as name, c.position, h.position - c.position as lag, c.caught_up, c.halted_position, c.halted_error,"
        " c.drift"
        " from {schema}.checkpoint c, log.head h"
    )
    return " union all ".join(one.format(name=p.name, schema=p.schema) for p in PROJECTIONS)


STATES: Final = _states_sql()


async def states(database: "asyncpg.Pool[Any] | asyncpg.Connection[Any]") -> Sequence[ViewState]:
    """Read how every view stands."""
    return [ViewState(**row) for row in await database.fetch(STATES)]


async def views_caught_up(dsn: str) -> bool:
    """Tell whether every view has reached the head of the log."""
    connection = await postgres.connect(dsn, "status")
    try:
        return all(state.caught_up and state.lag == 0 for state in await states(connection))
    finally:
        await connection.close()
