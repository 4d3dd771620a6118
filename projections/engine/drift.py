"""A cheap watch over a view: what its tables sum up to, against what the events of each window said they should.

The runner keeps the sums with the checkpoint and compares now and then: a row that somebody changed, took away or added, and a
checkpoint that was moved, show within a minute. `verify` says which.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from asyncpg import Connection

from projections.engine.projection import Projection

Totals = Mapping[str, int]

# Votes say what they change, so these sums hold whatever was passed over; numbers of rows don't.
ALWAYS_HOLD = frozenset({"ship", "skip"})

READ_CHECKPOINT = """
select c.position, h.position as head, c.totals, c.totals_position, c.drift
from checkpoint c cross join log.head h
"""

BEGIN = "update checkpoint set totals = $2, totals_position = $1 where position = $1 and totals is null"

SAY = """
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


def add(totals: Totals, changes: Iterable[Any]) -> Totals:
    """Add a window's changes, rows of (name, change), to totals."""
    return {**totals, **{name: totals.get(name, 0) + (change or 0) for name, change in changes}}


async def look(connection: "Connection[Any]", projection: Projection, dropped: Sequence[int]) -> tuple[str | None, str | None]:
    """Say what is wrong with the tables of the connection's search_path, and what was said before; None if nothing.

    Where no totals are kept yet, they are taken from the tables.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(READ_CHECKPOINT)
        found = {row["name"]: row["total"] for row in await connection.fetch(projection.totals)}
    assert row is not None  # noqa: S101 - the checkpoint has one row
    expected = decode(row["totals"])
    if expected is None:
        await connection.execute(BEGIN, row["position"], encode(found))
        return None, row["drift"]
    return _wrong(row, expected, found, bool(dropped)), row["drift"]


def _wrong(row: Any, expected: Totals, found: Totals, dropped: bool) -> str | None:
    if row["position"] > row["head"]:
        return f"its checkpoint {row['position']} is beyond the log's head {row['head']}"
    if row["position"] != row["totals_position"]:
        return f"its checkpoint was moved from {row['totals_position']}, and stands at {row['position']} now"
    names = [name for name in found if name in ALWAYS_HOLD or not dropped]
    wrong = [
        f"{name} sum up to {found[name]}, not {expected.get(name, 0)}" for name in names if found[name] != expected.get(name, 0)
    ]
    return "; ".join(wrong) or None
