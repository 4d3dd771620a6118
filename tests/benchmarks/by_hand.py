"""The best single statements that make each view's tables from the whole log: what a rebuild is measured against.

Each view is made of the same tables with the same keys and indexes; nothing is passed over, checked, resumed or caught up.
"""

import re
from pathlib import Path
from time import monotonic

import asyncpg

from projections.engine import verify
from projections.registry import PROJECTIONS

_BLOCK = re.compile(r"^-- (\w+)\n(.*?);$", re.MULTILINE | re.DOTALL)


def statements() -> list[tuple[str, str]]:
    """Give the statements in their order, each with its view; the tallies are measured by themselves as well."""
    return _BLOCK.findall(Path(__file__).with_suffix(".sql").read_text())


EMPTY = """
drop schema if exists by_hand cascade;
create schema by_hand;
set search_path to by_hand;
set work_mem to '64MB';
"""


async def make(dsn: str) -> dict[str, float]:
    """Make all tables by hand, in the schema `by_hand`; give the seconds that each view's statements took."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(EMPTY)
    await connection.execute("\n".join(projection.tables for projection in PROJECTIONS))
    seconds: dict[str, float] = {}
    for name, statement in statements():
        began = monotonic()
        await connection.execute(statement, timeout=3600)
        seconds[name] = seconds.get(name, 0.0) + monotonic() - began
    for projection in PROJECTIONS:
        began = monotonic()
        await connection.execute(projection.indexes or "select", timeout=3600)
        seconds[projection.name] = seconds.get(projection.name, 0.0) + monotonic() - began
    await connection.close()
    return seconds


async def must_be_equal(dsn: str) -> None:
    """Assert that what was made by hand is what the live views hold: else it would be measured against something else."""
    connection = await asyncpg.connect(dsn)
    for projection in PROJECTIONS:
        for table in await connection.fetch(verify.READ_KEYS, projection.schema):
            statement = await connection.fetchval(verify.STATEMENT, projection.schema, "by_hand", table["name"], table["key"])
            assert await connection.fetch(statement, 3, timeout=3600) == [], table["name"]
    await connection.close()
