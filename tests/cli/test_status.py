"""`ballotpress status`: how everything stands, and what to do about it."""

import asyncio
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from projections.registry import PROJECTIONS
from projections.runner import follow_log
from services.clock import now
from services.newsletter.schedule import Schedule
from services.status.model import Status
from services.status.read import read_status
from services.status.views import reached
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.shell import Follow, Shell, Vote

MONDAY = Schedule(0, 9, "UTC")


def what(status: Status) -> str:
    return "\n".join(f"{problem.what}: {problem.advice}" for problem in status.problems)


async def test_the_command_shows_the_same_as_json(
    shell: Shell, catalog: int, vote: Vote, follow: Follow, valkey_url: str
) -> None:
    """Head, views, schema, disk and queue are there in JSON and for people, and the status is 0."""
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.flushdb()  # of what the workers of other tests left
    await vote("alpha", ["ship"])
    await follow()
    status = shell("status", "--json").json()
    assert status["head"]["position"] == status["head"]["events_last_minute"] == catalog + 1
    assert [view["position"] for view in status["views"]] == [catalog + 1] * len(PROJECTIONS)
    assert status["schema"]["migration"] == status["schema"]["current"]
    assert status["queue"] == {"reachable": True, "jobs": 0, "overdue_seconds": 0.0, "workers": 0, "tick_seconds": None}
    assert "log.events" in [table["table"] for table in status["disk"]]
    text = shell("status", status=0).out
    assert f"position {catalog + 1}" in text and "log.events" in text and "start `ballotpress worker`" in text


async def test_views_behind_are_measured(connection: Any, catalog: int, follow: Follow, vote: Vote) -> None:
    """Lag is counted in events and in seconds since the oldest event that a view has not seen."""
    await follow()
    await vote("alpha", ["ship", "skip"])
    await asyncio.sleep(0.2)
    status = await read_status(connection, MONDAY)
    for view in status.views:
        assert (view.lag, view.halt) == (2, None)
        assert 0.2 <= view.lag_seconds < PATIENCE
    assert status.queue is None


async def test_asking_how_far_the_views_are_reads_the_checkpoints_alone(
    connection: Any, catalog: int, follow: Follow, vote: Vote
) -> None:
    """The position that every view has reached, which requests wait for, is read without looking at any session."""
    await follow()
    await vote("alpha", ["ship"])
    asked: list[str] = []
    with connection.query_logger(lambda record: asked.append(record.query)):
        assert (await reached(connection)).lowest == catalog
    await asyncio.sleep(0)  # asyncpg calls its loggers in the loop's next round
    assert len(asked) == 1 and "pg_stat_activity" not in asked[0]


async def test_projectors_are_seen(connection: Any, dsn: str) -> None:
    """A missing projector is a problem, and a running one ends it."""
    assert "No projector keeps cards, " in what(await read_status(connection, MONDAY))
    projector = asyncio.create_task(follow_log(dsn, now))
    try:
        async with asyncio.timeout(PATIENCE):
            while "No projector" in what(await read_status(connection, MONDAY)):
                await asyncio.sleep(0.05)
    finally:
        projector.cancel()
        await asyncio.wait([projector])


async def test_who_holds_others_up_is_named(connection: Any, dsn: str) -> None:
    """A session that keeps the head's lock is shown with the sessions it blocks, and how to end it."""
    holder, waiter = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    lock = "select position from log.head for update"
    await holder.execute("begin")
    await holder.execute(lock)
    waiting = asyncio.create_task(waiter.execute(lock))
    pids = holder.get_server_pid(), waiter.get_server_pid()

    async def both_are_seen() -> bool:
        return {transaction.pid for transaction in (await read_status(connection, MONDAY)).transactions} == set(pids)

    await until(both_are_seen)
    status = await read_status(connection, MONDAY)
    await holder.execute("rollback")
    await waiting
    blocks = {transaction.pid: transaction.blocks for transaction in status.transactions}
    waits = {transaction.pid: transaction.waits_for for transaction in status.transactions}
    assert blocks == {pids[0]: [pids[1]], pids[1]: []}
    assert waits == {pids[0]: [], pids[1]: [pids[0]]}
    assert f"pg_terminate_backend({pids[0]})" in what(status)
    assert f"pg_terminate_backend({pids[1]})" not in what(status)
    await holder.close()
    await waiter.close()


async def test_a_silent_valkey_is_a_problem_not_a_failure(shell: Shell, connection: Any) -> None:
    """Without Valkey the rest of the status is shown, and the loss of Valkey as a problem."""
    status = shell("status", "--json", REDIS_URL="unix:///nowhere/valkey.sock").json()
    assert status["queue"]["reachable"] is False
    assert any("Valkey does not answer" in problem["what"] for problem in status["problems"])


async def test_overdue_jobs_are_a_problem(connection: Any, valkey_url: str) -> None:
    """Jobs that nobody takes, though a worker is alive, are shown with how long the first has waited."""
    async with Redis.from_url(valkey_url) as valkey:
        seconds, _ = await valkey.time()
        await valkey.zadd("arq:queue", {"a job": (seconds - 300) * 1000})
        await valkey.set("ballotpress:worker:test:1", "alive")
        try:
            status = await read_status(connection, MONDAY, valkey)
        finally:
            await valkey.delete("arq:queue", "ballotpress:worker:test:1")
    assert status.queue is not None
    assert (status.queue.jobs, status.queue.workers) == (1, 1)
    assert 299 <= status.queue.overdue_seconds < 300 + PATIENCE
    assert "The first job has been due for" in what(status)


@pytest.mark.parametrize(
    "change", ["drop schema hours_1 cascade", "delete from public.ballotpress_migrations where number > 1"]
)
async def test_an_old_schema_is_a_problem(connection: Any, change: str) -> None:
    """A missing view or migration is shown with the command that brings it; the rest is still there."""
    await connection.execute(change)
    status = await read_status(connection, MONDAY)
    assert status.head is not None
    assert "run `ballotpress migrate`" in what(status)


async def test_a_very_late_issue_is_a_problem_with_its_remedy(connection: Any) -> None:
    """More than a day late it waits for an operator, who is told; within the day it is the worker's."""
    await connection.execute("update newsletter.schedule set since = now() - interval '30 days'")
    for days, is_late in ((0, False), (2, True)):
        due = Schedule((now().weekday() - days) % 7, now().hour, "UTC")
        said = what(await read_status(connection, due))
        assert ("more than a day late: `ballotpress digest send --now`" in said) is is_late
