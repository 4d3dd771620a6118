"""The best single statements that make each view's tables from the whole log: what a rebuild is measured against.

Each view is made of the same tables with the same keys and indexes; nothing is passed over, checked, resumed or caught up.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

import asyncpg

from projections.engine import verify
from projections.registry import PROJECTIONS

_BLOCK = re.compile(r"^-- (\w+)\n(.*?);$", re.MULTILINE | re.DOTALL)


def statements() -> list[tuple[str, str]]:
    """Give the statements in their order, each with its view; the tallies are measured by themselves as well."""
    return _BLOCK.findall(Path(__file__).with_suffix(".sql").read_text())


SETTINGS = {"search_path": "by_hand", "work_mem": "64MB"}
CARDS, TALLIES = "cards", "tallies"


async def make(dsn: str) -> dict[str, float]:
    """Make all tables by hand, in the schema `by_hand`; give the seconds that each view's statements took."""
    await _begin(dsn)
    return await _session(dsn, [projection.name for projection in PROJECTIONS])


async def side_by_side(dsn: str, alone: Mapping[str, float]) -> float:
    """Make all tables by hand in two sessions, the longest views first; give the seconds in all.

    `alone` are the seconds that each view took by itself.
    """
    await _begin(dsn)
    waiting = iter(
        sorted((p.name for p in PROJECTIONS), key=lambda name: -alone.get(name, 0.0) - alone[TALLIES] * (name == CARDS))
    )
    began = monotonic()

    async def session() -> None:
        for name in waiting:
            await _session(dsn, [name])

    await asyncio.gather(session(), session())
    return monotonic() - began


async def _begin(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("drop schema if exists by_hand cascade; create schema by_hand; set search_path to by_hand")
    await connection.execute("\n".join(projection.tables for projection in PROJECTIONS))
    await connection.close()


async def _session(dsn: str, views: Sequence[str]) -> dict[str, float]:
    """Run the statements of these views in their order, their indexes last."""
    connection = await asyncpg.connect(dsn, server_settings=SETTINGS)
    seconds: dict[str, float] = {}
    indexes = [(projection.name, projection.indexes) for projection in PROJECTIONS if projection.indexes]
    for name, statement in [*statements(), *indexes]:
        if name in views or (name == TALLIES and CARDS in views):
            began = monotonic()
            await connection.execute(statement, timeout=3600)
            seconds[name] = seconds.get(name, 0.0) + monotonic() - began
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
