"""A small world of honest and of bought votes, put into a real log."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg
import numpy as np

from events.log import ids
from events.log.event import encode
from tests.support.integrity_worlds import BEGIN, DAY, Draft, Plan, World, world
from tests.support.log import tool_added

SEED = 5
COLUMNS = ("stream", "position", "recorded_at", "version", "schema_version", "type", "data")
ISSUE = """
insert into newsletter.issues (number, edition, due_at, from_position, to_position, period_from, compiled_at, content,
                               content_hash, state)
values ($1, 'weekly', $2, 0, 0, $2, $2, $3, '', 'settled')
"""


class Log(NamedTuple):
    """A database of the test's own whose log holds a world, and a connection to it."""

    dsn: str
    connection: "asyncpg.Connection[Any]"


def small_world(seed: int) -> World:
    """Draw two weeks of few votes and one with brigades and a crowd; nobody in it voted before."""
    drawn = world(seed, plans=5, crowds=1, mimics=2, tools=40, votes_a_day=250, history=14)
    return drawn._replace(before=np.zeros_like(drawn.before))


def poisoned_world(seed: int, flood: int) -> tuple[World, int]:
    """Draw four quiet weeks and one with a brigade of an hour; return it and the brigade's tool.

    In the six days before that week so many votes a day flood the tool, which would teach it that many votes are ordinary.
    """
    draft = Draft(np.random.default_rng(seed), tools=40, votes_a_day=250, days=35)
    for day in range(draft.days):
        draft.honest_day(day, 1.0)
    tool, week = int(np.argsort(draft.weight)[20]), BEGIN + 28 * DAY
    days = [week - (6 - day) * DAY for day in range(6)] if flood else []
    plans = [_brigade(tool, begin, DAY, flood) for begin in days] + [_brigade(tool, week + 2 * DAY, 3600, 40, aged=True)]
    for number, plan in enumerate(plans):
        draft.attack(number, plan)
    drawn = draft.finished(plans, [])
    return drawn._replace(before=np.zeros_like(drawn.before)), tool


def first_days(seed: int, days: int) -> World:
    """Draw a site's first days, with a brigade in the middle of the last one."""
    draft = Draft(np.random.default_rng(seed), tools=40, votes_a_day=250, days=days)
    for day in range(days):
        draft.honest_day(day, 1.0)
    plan = _brigade(int(np.argsort(draft.weight)[20]), BEGIN + (days - 0.5) * DAY, 3600, 40)
    draft.attack(0, plan)
    return draft.finished([plan], [])


def _brigade(tool: int, begin: float, seconds: float, votes: int, *, aged: bool = False) -> Plan:
    return Plan(kind="attack", tool=tool, choice=0, begin=begin, seconds=seconds, votes=votes, networks=votes, aged=aged)


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
