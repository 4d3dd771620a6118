"""Watch a projection cheaply: compare what its tables sum up to with the sums of the changes in the events.

The runner keeps the sums with the checkpoint and compares now and then, so that a row changed, deleted or added by hand, or a
moved checkpoint, shows within a minute. `verify` finds the row.
"""

import random
from collections.abc import Container, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg import Connection

from projections.engine.projection import Projection

Totals = Mapping[str, int]

READ_CHECKPOINT = """
select c.position, h.position as head, c.totals, c.totals_position, c.drift
from checkpoint c cross join log.head h
"""

BEGIN = "update checkpoint set totals = $2, totals_position = $1 where position = $1 and totals is null"

RECORD = """
update checkpoint set drift = $1, drift_since = case when $1 is null then null else coalesce(drift_since, $2) end
where drift is distinct from $1
"""

_totals = msgspec.json.Decoder(dict[str, int])


def encode(totals: Totals) -> str:
    """Write totals as the checkpoint keeps them."""
    return msgspec.json.encode(totals).decode()


def decode(text: str | None) -> Totals | None:
    """Read totals as the checkpoint keeps them."""
    return None if text is None else _totals.decode(text)


async def look(connection: "Connection[Any]", projection: Projection, dropped: Sequence[int]) -> tuple[str | None, str | None]:
    """Return what is wrong with the tables of the connection's search_path, and the drift recorded before; None for nothing.

    Takes the totals from the tables where none are kept yet.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(READ_CHECKPOINT)
        found = {row["name"]: row["total"] for row in await connection.fetch(projection.totals)}
    assert row is not None  # noqa: S101 - the checkpoint has one row
    expected = decode(row["totals"])
    if expected is None:
        await connection.execute(BEGIN, row["position"], encode(found))
        return None, row["drift"]
    return _wrong(row, expected, found, projection.exact_totals if dropped else found), row["drift"]


async def scrub(connection: "Connection[Any]", statement: str, part: int | None) -> tuple[int | None, str | None]:
    """Compare a part of the tables, or some part, with the log; return it and what is wrong there, None for nothing."""
    number = random.getrandbits(62) if part is None else part
    try:
        row = await connection.fetchrow(statement, number)
    except asyncpg.DataError as error:  # an event there can't be read any more
        return number, str(error)
    return (None, None) if row is None or row["wrong"] is None else (row["part"], row["wrong"])


def _wrong(row: Any, expected: Totals, found: Totals, comparable: Container[str]) -> str | None:
    if row["position"] > row["head"]:
        return f"its checkpoint {row['position']} is beyond the log's head {row['head']}"
    if row["position"] != row["totals_position"]:
        return f"its checkpoint was moved from {row['totals_position']}, and stands at {row['position']} now"
    names = [name for name in found if name in comparable]
    wrong = [
        f"its tables hold {found[name]} {name}, not {expected.get(name, 0)}"
        for name in names
        if found[name] != expected.get(name, 0)
    ]
    return "; ".join(wrong) or None
