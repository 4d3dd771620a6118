"""A small world of honest and of bought votes, put into a real log."""

import json
from datetime import UTC, datetime
from typing import Any

import asyncpg
import numpy as np

from events.log import ids
from events.log.event import encode
from tests.support.integrity_worlds import BEGIN, World, world
from tests.support.log import tool_added

COLUMNS = ("stream", "position", "recorded_at", "version", "schema_version", "type", "data")
ISSUE = """
insert into newsletter.issues (number, edition, due_at, from_position, to_position, period_from, compiled_at, content,
                               content_hash, state)
values ($1, 'weekly', $2, 0, 0, $2, $2, $3, '', 'settled')
"""


def small_world(seed: int) -> World:
    """Draw three weeks of few votes and one with brigades and a crowd; nobody in it voted before."""
    drawn = world(seed, plans=5, crowds=1, tools=40, votes_a_day=250, history=21)
    return drawn._replace(before=np.zeros_like(drawn.before))


def names_of(drawn: World) -> list[str]:
    """Return the tools' ids, which are in the order of their numbers."""
    return [ids.new_id(1_700_000_000_000 + n, bytes(10)) for n in range(drawn.tools)]


async def put(connection: "asyncpg.Connection[Any]", drawn: World) -> None:
    """Write a world into an empty log: its tools a month before, its votes, and the digests that explain some of them."""
    names = names_of(drawn)
    tools = [
        (ids.stream_of(tool), n + 1, _time(BEGIN - 30 * 86_400), 1, 1, "ToolAdded", encode(tool_added(tool, f"tool-{n}")))
        for n, tool in enumerate(names)
    ]
    rows = [*tools, *_votes(drawn, names)]
    async with connection.transaction():
        await connection.copy_records_to_table("events", schema_name="log", records=rows, columns=COLUMNS)
        await connection.execute(
            "update log.head set position = $1, recorded_at = $2, listing_position = $3", len(rows), rows[-1][2], len(tools)
        )
        for number, (tool, begin, _) in enumerate(drawn.explained):
            content = json.dumps({"movers": [{"tool": names[tool]}]})
            await connection.execute(ISSUE, number, _time(begin + number), content)


def _votes(drawn: World, names: list[str]) -> list[tuple[Any, ...]]:
    voters = [ids.new_id(int(made * 1000), n.to_bytes(10, "little")) for n, made in enumerate(drawn.made)]
    rows = []
    for n, (time, tool, choice, voter, _) in enumerate(zip(*drawn.votes, strict=True)):
        data = {"voter": voters[voter], "tool": names[tool], "choice": ("ship", "skip")[choice]}
        stream = ids.stream_beside(voters[voter], "ballot", names[tool])
        rows.append((stream, len(names) + n + 1, _time(time), 1, 1, "VoteCast", json.dumps(data)))
    return rows


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
