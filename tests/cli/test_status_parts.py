"""What `ballotpress status` says of the log's parts: no trigger keeps an owner from taking one off, so it is found."""

import re
from typing import Any

import pytest

from services.newsletter.schedule import Schedule
from services.status import read
from services.status.read import read_status
from tests.support.parts import make_small
from tests.support.processes import PATIENCE
from tests.support.shell import Shell, Vote

MONDAY = Schedule(0, 9, "UTC")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that gives no part up on a slow machine."""
    monkeypatch.setattr(read, "LIMIT_PART", f"set local statement_timeout = '{PATIENCE:.0f}s'")


async def wrong(connection: Any) -> list[tuple[str, str]]:
    """Return what the status says of the log's parts, and the statements that would mend it."""
    found = [problem for problem in (await read_status(connection, MONDAY)).problems if "of the log" in problem.what]
    return [(problem.what, problem.advice.rpartition("in psql")[2].partition(": ")[2]) for problem in found]


async def test_an_empty_part_is_called_empty(shell: Shell) -> None:
    """Of a log without events no range of positions is shown that ends before it begins."""
    assert shell("events", "parts", status=0).out.startswith("0: empty, ")


async def test_status_names_the_parts(shell: Shell, catalog: int, vote: Vote, connection: Any) -> None:
    """How many parts there are, which one is being filled, and up to which position there is room."""
    await vote("alpha", ["ship"])
    out = shell("status", status=1).out
    assert re.search(
        r"^parts +2 of the log, the head in log.events_0 \(positions 1 to 10000000\); room to 20000000$", out, re.MULTILINE
    )


BREAK = {
    "alter table log.events detach partition log.events_1": "taken off: log.events_1 (positions 11 to 20)",
    "drop trigger events_append_only on log.events_2": "can be changed: log.events_2 has no trigger",
    "alter table log.events_0 disable trigger events_append_only": "can be changed: log.events_0 has no trigger",
    "drop trigger events_append_only on log.events": "can be changed: log.events has no trigger",
}


@pytest.mark.parametrize("sql", BREAK)
async def test_a_part_that_is_not_as_it_must_be_is_found(connection: Any, sql: str) -> None:
    """One that was taken off, or lost its trigger, is named; the statement that is given mends it."""
    await make_small(connection, 10)
    await connection.execute("select log.make_room(25)")
    assert await wrong(connection) == []
    await connection.execute(sql)
    ((what, mend),) = await wrong(connection)
    assert BREAK[sql] in what
    await connection.execute(mend)
    assert await wrong(connection) == []


async def test_votes_are_to_stop_while_a_part_is_off(connection: Any) -> None:
    """Who decides can't see the ballots in it: the advice begins with the processes that take votes."""
    await make_small(connection, 10)
    await connection.execute("select log.make_room(25)")
    await connection.execute("alter table log.events detach partition log.events_1")
    problems = (await read_status(connection, MONDAY)).problems
    (advice,) = (problem.advice for problem in problems if "taken off" in problem.what)
    assert advice.startswith("stop the API processes until it is back")


async def test_a_part_that_is_gone_is_found(connection: Any) -> None:
    """A table that somebody dropped is named, with the positions that it held."""
    await make_small(connection, 10)
    await connection.execute("drop table log.events_0")
    ((what, _),) = await wrong(connection)
    assert "gone: log.events_0 (positions 1 to 10)" in what
