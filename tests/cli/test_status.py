"""`ballotpress status`: how everything stands, and what to do about it."""

import asyncio
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from events.log.vault import Vault
from projections.registry import PROJECTIONS
from projections.runner import follow_log
from services.clock import now
from services.newsletter.schedule import Schedule
from services.status import read
from services.status.model import Status
from services.status.read import read_status
from services.status.views import reached
from tests.support import servers
from tests.support.disks import small_disk
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.servers import database, locked
from tests.support.shell import Follow, Shell, Vote


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time for a part of the status: only a lock leaves one out."""
    monkeypatch.setattr(
        read, "LIMIT_PART", f"set local lock_timeout = '300ms'; set local statement_timeout = '{PATIENCE:.0f}s'"
    )


MONDAY = Schedule(0, 9, "UTC")


def what(status: Status) -> str:
    return "\n".join(f"{problem.what}: {problem.advice}" for problem in status.problems)


async def test_the_command_shows_the_same_as_json(
    shell: Shell, catalog: int, vote: Vote, follow: Follow, valkey_url: str
) -> None:
    """Head, views, schema, disk and queue are there in JSON and for people, and the status is 1: no worker is alive."""
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.flushdb()  # of what the workers of other tests left
    await vote("alpha", ["ship"])
    await follow()
    ran = shell("status", "--json", status=1)
    status = json.loads(ran.out)
    assert status["head"]["position"] == status["head"]["events_last_minute"] == catalog + 1
    assert [view["position"] for view in status["views"]] == [catalog + 1] * len(PROJECTIONS)
    assert status["schema"]["migration"] == status["schema"]["current"]
    queue = {"reachable": True, "jobs": 0, "overdue_seconds": 0.0, "workers": 0, "tick_seconds": None, "evicts": None}
    assert status["queue"] == queue
    assert "log.events" in [table["table"] for table in status["disk"]]
    text = shell("status", status=1).out
    assert f"position {catalog + 1}" in text and "log.events" in text and "start `ballotpress worker`" in text


async def test_a_disk_without_room_for_tables_is_told(
    postgres: servers.Postgres, template: str, tmp_path: Path, valkey_url: str
) -> None:
    """A server that answers on a full disk takes no votes: status says so, and is well again once there is room."""
    async with small_disk(postgres, 60) as disk, database(postgres, template) as dsn:
        name = dsn.partition("@/")[2].partition("?")[0]
        await servers.execute(postgres.dsn(), f"alter database {name} set tablespace {disk.space}")
        await servers.execute(dsn, "select 1")  # the first session there writes a file, or is ended by the server
        shell = Shell(tmp_path, dsn, valkey_url)
        disk.fill()
        ran = shell("status", status=1)
        assert "! PostgreSQL's disk is full\n  free some space" in ran.out, ran.err
        disk.empty()
        assert "disk is full" not in shell("status", status=1).out


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
    status = json.loads(shell("status", "--json", status=1, REDIS_URL="unix:///nowhere/valkey.sock").out)
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
    "change", ["drop schema hours_5 cascade", "delete from public.ballotpress_migrations where number > 1"]
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
    at = now()
    for days, is_late in ((0, False), (2, True)):
        due = Schedule((at.weekday() - days) % 7, at.hour, "UTC")
        said = what(await read_status(connection, due))
        assert ("more than a day late: `ballotpress digest send --now`" in said) is is_late


async def test_a_locked_table_is_left_out_and_its_holder_named(connection: Any, catalog: int, follow: Follow, dsn: str) -> None:
    """While a table of a view is locked from everybody, the status says so, names the holder, and tells the rest."""
    await follow()
    async with locked(dsn, f"lock table {PROJECTIONS[0].schema}.tallies, newsletter.mails in access exclusive mode") as pid:
        status = await read_status(connection, MONDAY)
        assert set(status.unread) == {"mails", "mail check", "sizes", "last day"}
        assert status.head is not None and [view.lag for view in status.views] == [0] * len(PROJECTIONS)
        assert "The status of the mails could not be read: a lock" in what(status)
    assert pid not in [transaction.pid for transaction in (await read_status(connection, MONDAY)).transactions]


async def test_a_later_version_of_a_view_is_no_problem(connection: Any, catalog: int, follow: Follow) -> None:
    """Tables of a later release's view, beside which this release goes on, are shown so; nobody is told to drop them."""
    await follow()
    for version in ("0", "99", "100"):
        await connection.execute(f"create schema hours_{version}; create table hours_{version}.checkpoint (position bigint)")
        await connection.execute(f"insert into hours_{version}.checkpoint values (3)")  # noqa: S608
    status = await read_status(connection, MONDAY)
    kinds = {rebuild.schema: rebuild.kind for rebuild in status.rebuilds}
    assert kinds == {"hours_0": "older", "hours_99": "newer", "hours_100": "newer"}
    assert "drop schema hours_0" in what(status) and "hours_99" not in what(status) and "hours_100" not in what(status)


async def test_a_halt_of_all_views_is_told_once(connection: Any, catalog: int, follow: Follow) -> None:
    """Views that halted at the same event are named in one problem, with the way out said once."""
    await follow()
    for view in PROJECTIONS:
        halt = "halted_position = 4, halted_error = 'EventTypeUnknown: X', halted_since = now()"
        await connection.execute(f"update {view.schema}.checkpoint set {halt}")  # noqa: S608
    said = what(await read_status(connection, MONDAY))
    assert said.count("quarantine drop 4") == 1
    others = "hours, bookmarks, reviews, subscribers, corrections, verdicts, integrity, search, proof"
    assert f"cards halted at position 4: EventTypeUnknown: X (and so did {others})" in said


async def test_a_log_ahead_of_its_clock_is_told(connection: Any, catalog: int) -> None:
    """A last event from the future is a problem, since tallies as of now can't count it."""
    assert "ahead of" not in what(await read_status(connection, MONDAY))
    await connection.execute("update log.head set recorded_at = $1", datetime.now(UTC) + timedelta(hours=1))
    assert "s ahead of the database's clock" in what(await read_status(connection, MONDAY))


async def test_a_vault_key_that_is_not_ours_is_told(connection: Any, shell: Shell) -> None:
    """Keys wrapped under a vault key that BALLOTPRESS_VAULT_KEYS lacks are named; none given, none are missed."""
    other = Vault([b64encode(b"o" * 32).decode()])
    assert "VAULT_KEYS" not in shell("status").out
    await other.finder(connection)
    assert "which BALLOTPRESS_VAULT_KEYS lacks" in shell("status", status=1).out
    assert "which BALLOTPRESS_VAULT_KEYS lacks" not in shell("status", BALLOTPRESS_VAULT_KEYS="").out


async def test_the_room_on_the_disk_is_told_before_it_is_gone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of an `up` with less than a tenth free is a problem; a database elsewhere has no disk that we see."""
    left = {"free": 200 * 2**20}
    monkeypatch.setattr(read.shutil, "disk_usage", lambda path: SimpleNamespace(total=2**30, free=left["free"]))
    assert "The disk" not in shell("status").out
    (shell.home / "postgres").mkdir(parents=True)
    assert "The disk" not in shell("status").out
    left["free"] = 90 * 2**20
    assert "The disk of the database has 90 MB left of 1024" in shell("status", status=1).out


async def test_status_and_migrate_need_no_keys(shell: Shell) -> None:
    """Who looks at a site, or brings its database up to date, need not hold its keys."""
    keyless = {"BALLOTPRESS_SECRET_KEYS": "", "BALLOTPRESS_VAULT_KEYS": ""}
    assert "log     position 0" in shell("status", **keyless).out
    assert shell("migrate", status=0, **keyless).err == ""


@pytest.mark.parametrize(
    ("age", "paused", "is_said"), [("6 minutes", False, True), ("1 minute", False, False), ("6 minutes", True, False)]
)
async def test_an_issue_that_nobody_plans_is_a_problem(connection: Any, age: str, paused: bool, is_said: bool) -> None:
    """An issue compiled five minutes ago, and not planned since, is named, unless the newsletter is paused."""
    await connection.execute(
        "insert into newsletter.issues (number, edition, due_at, from_position, to_position, period_from, compiled_at, content,"
        " content_hash, state) values (1, 'weekly', now(), 0, 0, now(), now() - $1::text::interval, '{}', '', 'compiled')",
        age,
    )
    await connection.execute("update newsletter.schedule set paused_at = case when $1 then now() end", paused)
    assert ("Issue 1 was compiled 360 s ago, and isn't planned" in what(await read_status(connection, MONDAY))) == is_said


async def test_a_server_that_may_lose_commits_is_named(connection: Any, shell: Shell) -> None:
    """The server of the tests writes nothing to the disk in time, and `status` says which of its settings mean that."""
    assert (await read_status(connection, MONDAY)).unsafe == ["fsync", "full_page_writes"]
    assert "fsync and full_page_writes off: a power cut may lose" in shell("status").out
