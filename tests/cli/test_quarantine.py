"""`ballotpress quarantine list|drop` and what `status` says of a halted view."""

import asyncio
import json
from typing import Any

import pytest

from events.registry import REGISTRY
from projections.engine.projection import connect
from projections.engine.runner import Halted, advance
from projections.registry import PROJECTIONS, SHOWN
from projections.runner import follow_log
from services.clock import now
from tests.support.deeds import deeds_of
from tests.support.processes import PATIENCE
from tests.support.runners import APPEND_UNKNOWN
from tests.support.shell import Follow, Shell

pytestmark = pytest.mark.usefixtures("catalog")


@pytest.fixture
async def halted(connection: Any, follow: Follow, dsn: str) -> int:
    """The position of an event that no view can take; all have halted there."""
    await follow()
    position: int = await connection.fetchval(APPEND_UNKNOWN)
    for projection in PROJECTIONS:
        runner = await connect(dsn, projection.schema)
        with pytest.raises(Halted):
            await advance(runner, projection, REGISTRY, 100)
        await runner.execute(
            "update checkpoint set halted_position = $1, halted_error = 'EventTypeUnknown: [a] b', halted_since = now()",
            position,
        )
        await runner.close()
    return position


async def test_a_halt_is_listed_with_its_event(shell: Shell, halted: int) -> None:
    """Each halted projection is listed with position, error, time and the event there; before a halt the list is empty."""
    listed = shell("quarantine", "list", "--json").json()["halted"]
    assert [one["projection"] for one in listed] == [projection.name for projection in PROJECTIONS]
    assert listed[0]["position"] == halted
    assert (listed[0]["type"], listed[0]["data"]) == ("FromTheFuture", {"tool": "[bold]"})
    text = shell("quarantine", "list").out
    assert f"cards halted at position {halted}" in text and 'FromTheFuture version 1 {"tool": "[bold]"}' in text


async def test_status_says_where_and_what_to_do(shell: Shell, halted: int) -> None:
    """`status` shows the halt with its error, and the command that lets the view pass."""
    status = json.loads(shell("status", "--json", status=1).out)
    assert [view["halt"]["position"] for view in status["views"]] == [halted] * len(PROJECTIONS)
    advice = [problem["advice"] for problem in status["problems"] if "halted" in problem["what"]]
    assert advice and all(f"`ballotpress quarantine drop {halted} --reason TEXT`" in line for line in advice)
    assert "EventTypeUnknown: [a] b" in shell("status").out


async def test_a_dropped_event_is_passed(shell: Shell, halted: int, connection: Any, dsn: str) -> None:
    """After a drop every halted view that can goes on, the log says who let it pass and why, and a second drop is refused."""
    dropped = shell("quarantine", "drop", str(halted), "--reason", "made by a later release", "--json").json()
    assert dropped == {"projections": [projection.name for projection in SHOWN], "appended": len(SHOWN)}
    projector = asyncio.create_task(follow_log(dsn, now))
    try:
        async with asyncio.timeout(PATIENCE):
            while await connection.fetchval("select position from cards_4.checkpoint") <= halted:
                await asyncio.sleep(0.05)
            while len(shell("quarantine", "list", "--json").json()["halted"]) > 1:
                await asyncio.sleep(0.05)
    finally:
        projector.cancel()
        await asyncio.wait([projector])
    said = await connection.fetchrow("select data->>'reason', meta->>'operator' from log.events where type = 'EventDropped'")
    assert tuple(said) == ("made by a later release", "shell")
    assert (await deeds_of(connection, "shell")).count("EventDropped") == len(SHOWN)
    shell("quarantine", "drop", str(halted), "--reason", "x").failed("proof can pass over no event", "run a release that knows")


async def test_the_tree_over_the_log_passes_over_nothing(shell: Shell, halted: int, connection: Any) -> None:
    """A drop says that the tree stays halted where others pass, and offers none once it is alone."""
    said = shell("quarantine", "drop", str(halted), "--reason", "made by a later release").out.splitlines()
    assert said[1] == "proof stays halted there: it passes over nothing, so run a release that knows the event"
    for projection in SHOWN:
        await connection.execute(f"update {projection.schema}.checkpoint set halted_position = null")  # noqa: S608
    assert [one["projection"] for one in shell("quarantine", "list", "--json").json()["halted"]] == ["proof"]
    problems = json.loads(shell("status", "--json", status=1).out)["problems"]
    advice = [problem["advice"] for problem in problems if "halted" in problem["what"]]
    assert advice == ["run a release that can take this event"]
    head = await connection.fetchval("select position from log.head")
    shell("quarantine", "drop", str(halted), "--reason", "x").failed("proof can pass over no event", "run a release that knows")
    assert await connection.fetchval("select position from log.head") == head


async def test_nothing_is_dropped_where_nothing_halted(shell: Shell, connection: Any) -> None:
    """A drop at any other position, or at none, is refused and appends nothing."""
    assert shell("quarantine", "list").out == "No view has halted\n"
    before = await connection.fetchval("select position from log.head")
    shell("quarantine", "drop", "3", "--reason", "x").failed("position 3")
    shell("quarantine", "drop", "0", "--reason", "x").failed("POSITION", status=2)
    assert await connection.fetchval("select position from log.head") == before
