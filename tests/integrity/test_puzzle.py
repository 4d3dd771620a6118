"""The detector's own switch of the puzzle: on for an hour where what looks bought has just come, and nowhere else."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from events.commands.puzzles import SwitchPuzzle
from events.integrity import Ruling
from events.log.committer import Committer
from services.clock import now
from services.integrity import cohorts, decisions, scan
from services.integrity.puzzle import DETECTOR, read_switched, slow_down
from services.integrity.queue import JOINED
from services.integrity.scan import silent
from services.newsletter.mailroom import Mailroom
from services.person.notes import Notes
from services.webhooks.desk import Desk
from services.worker import create_worker
from tests.support.bought import Log
from tests.support.catalogs import new_id
from tests.support.cohorts import cast, suspect
from tests.support.log import add_tools
from tests.support.runners import Connection, catch_up_all
from tests.support.settings import settings

HOUR = timedelta(hours=1)


@pytest.fixture
async def tool(committer: Committer, dsn: str) -> str:
    """A tool with forty votes that came just now."""
    tools = await add_tools(committer, "a")
    await cast(committer, tools["a"], "ship", 40)
    await catch_up_all(dsn)
    return tools["a"]


async def test_a_new_cohort_switches_the_puzzle_on_for_an_hour(connection: Any, tool: str) -> None:
    """It says that the detector did, and when it ends; the same again prolongs it."""
    cohort = await suspect(connection, tool)
    before = now()
    await slow_down(connection, cohort.id)
    (one,) = await read_switched(connection)
    assert (one.tool, one.by) == (tool, DETECTOR)
    assert before + HOUR <= one.until <= now() + HOUR
    await slow_down(connection, cohort.id)
    assert (await read_switched(connection))[0].until > one.until


async def test_a_later_end_that_an_operator_set_stands(connection: Any, committer: Committer, tool: str) -> None:
    """Two hours of an operator's are neither shortened nor taken over."""
    until = now() + 2 * HOUR
    await committer.submit(SwitchPuzzle("a", until, "ada"))
    await slow_down(connection, (await suspect(connection, tool)).id)
    assert [(one.until, one.by) for one in await read_switched(connection)] == [(until, "ada")]


async def test_what_is_over_or_decided_switches_nothing_on(dsn: str, connection: Any, committer: Committer, tool: str) -> None:
    """Votes of hours ago, as a first scan finds them, need no slowing down; nor do those that an operator let stand."""
    cohort = await suspect(connection, tool)
    await cohorts.keep(connection, replace(cohort, votes=39, begins=cohort.begins - 3 * HOUR, ends=cohort.ends - 2 * HOUR))
    await slow_down(connection, cohort.id)
    assert await read_switched(connection) == []
    await cohorts.keep(connection, cohort)
    await decisions.decide(connection, committer, cohort.id, Ruling("dismiss", "a launch", "ada", new_id(), 0))
    await catch_up_all(dsn)
    await slow_down(connection, cohort.id)
    assert await read_switched(connection) == []


async def test_the_scan_tells_of_each_cohort_that_reaches_the_queue(log: Log) -> None:
    """It tells of all that comes to wait for an operator, and a scan that finds nothing new tells of nothing."""
    told: list[str] = []

    async def tell(connection: Connection, cohort: str) -> None:
        told.append(cohort)

    await scan.scan(log.dsn, 0.01, alarm=tell)
    waiting = {row["id"] for row in await log.connection.fetch(f"select c.id from {JOINED} where s.status = 'waiting'")}  # noqa: S608
    assert len(waiting) >= 3
    assert waiting <= set(told)
    told.clear()
    await scan.scan(log.dsn, 0.01, alarm=tell)
    assert told == []


@pytest.mark.parametrize(("puzzle", "alarm"), [("operator", silent), ("detector", slow_down)])
async def test_a_setting_says_whether_the_workers_scan_switches_it_on(
    dsn: str, valkey_url: str, puzzle: str, alarm: object
) -> None:
    """It doesn't, unless the site asks for it."""
    given = settings(dsn, valkey_url, puzzle=puzzle)
    assert create_worker(given, Mailroom(given), Desk(given), Notes(given)).ctx["alarm"] is alarm
