"""Every process says that it lives, and what keeps it from its work, where everybody can read it."""

import asyncio
import logging
import os
import signal
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from events.log.migrate import current
from events.log.vault import Vault
from services.migrate import migrate
from services.starting import await_schema
from services.status.model import DEAD_SECONDS
from services.status.processes import Life, read_processes, said_wrong
from tests.support import servers, sites
from tests.support.processes import COMMAND, PATIENCE, free_port, started
from tests.support.runners import catch_up_all, until
from tests.support.settings import environ, settings
from tests.support.shell import Shell
from tests.support.stem import forked

_ANOTHER = "insert into status.processes (name, kind, host, pid, release) values ('x', '{}', 'h', 1, '1')"


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database."""
    return Shell(tmp_path / "home", dsn, valkey_url)


async def wrong(connection: Any) -> list[str]:
    """Return what is said of the processes."""
    return [what for _, what in said_wrong(await read_processes(connection))]


async def age(connection: Any, kind: str, seconds: float) -> None:
    """Let the processes of a kind have been silent for so long."""
    await connection.execute(
        "update status.processes set seen_at = now() - make_interval(secs => $2) where kind = $1", kind, seconds
    )


async def test_a_silent_process_is_missed_until_another_of_its_kind_lives(connection: Any, dsn: str, shell: Shell) -> None:
    """A worker that says nothing any more is named by status; when another lives, nobody is missed."""
    life = Life(dsn, "worker")
    await life.say(None)
    assert await wrong(connection) == []
    await age(connection, "worker", DEAD_SECONDS + 5)
    (said,) = await wrong(connection)
    assert said.startswith("no worker has shown itself for ")
    shown = shell("status", status=1).out
    assert f"! {said[:1].upper()}{said[1:30]}" in shown
    assert "gone    worker" in shown and "runs    worker" not in shown
    await connection.execute(_ANOTHER.format("worker"))
    assert await wrong(connection) == []


@pytest.mark.parametrize("kind", ["projector", "worker", "api"])
async def test_who_left_in_order_is_not_missed_beside_another(
    kind: str, connection: Any, dsn: str, valkey_url: str, shell: Shell
) -> None:
    """A process that was told to stop isn't listed beside another of its kind; one that was killed is."""

    async def names() -> list[str]:
        return [row["name"] for row in await connection.fetch("select name from status.processes where kind = $1", kind)]

    async def told() -> bool:
        return bool(await names())

    port = ("--port", str(free_port())) if kind == "api" else ()
    for stop in (signal.SIGKILL, signal.SIGTERM):
        await connection.execute("delete from status.processes")
        with forked(kind, *port, environ=environ(dsn, valkey_url)) as ran:
            await until(told)
            ran.send_signal(stop)
            await asyncio.to_thread(ran.wait)
        if stop == signal.SIGTERM:
            assert f"left    {kind} {ran.pid}" in shell("status", status=1).out
        await connection.execute(_ANOTHER.format(kind))
        assert len(await read_processes(connection)) == (2 if stop == signal.SIGKILL else 1)


async def test_who_was_killed_before_hides_nobody_who_left_later(connection: Any, dsn: str) -> None:
    """The last of a kind is told of, and how it ended, also beside one that was killed within the hour."""
    await connection.execute(_ANOTHER.format("worker"))
    await age(connection, "worker", 2400)
    life = Life(dsn, "worker")
    await life.say(None)
    await life.leave()
    await connection.execute("update status.processes set seen_at = now() - interval '60 s' where name <> 'x'")
    assert [(one.pid, one.has_left) for one in await read_processes(connection)] == [(os.getpid(), True), (1, False)]
    (said,) = await wrong(connection)
    assert said.startswith("no worker has shown itself for 60 s;")


async def test_who_says_that_it_lives_has_not_left(connection: Any, dsn: str) -> None:
    """A number of a process that is given anew, as in a container, is that of a process that runs."""
    life = Life(dsn, "worker")
    await life.say(None)
    await life.leave()
    assert [one.has_left for one in await read_processes(connection)] == [True]
    await life.say(None)
    assert [one.has_left for one in await read_processes(connection)] == [False]


async def test_the_last_of_a_kind_is_missed_for_good(connection: Any, dsn: str) -> None:
    """Old rows are pruned, but a kind of which none lives stays missed."""
    await Life(dsn, "projector").say(None)
    await connection.execute(_ANOTHER.format("projector"))
    await connection.execute("update status.processes set seen_at = now() - interval '3 days' where name = 'x'")
    await Life(dsn, "api").say(None)
    assert {row["name"] for row in await connection.fetch("select name from status.processes")}.isdisjoint({"x"})
    await age(connection, "projector", 2 * 86400)
    await Life(dsn, "api").say(None)
    assert len(await wrong(connection)) == 1


async def test_what_keeps_a_process_from_its_work_degrades_readiness(connection: Any, dsn: str, valkey_url: str) -> None:
    """A worker's trouble is a reason in the readiness of every API process, until the worker says that it is over."""
    await catch_up_all(dsn)
    async with sites.client(settings(dsn, valkey_url)) as site:
        life = Life(dsn, "worker")
        await life.say("has not reached Valkey: see REDIS_URL in its environment")

        async def told() -> bool:
            return "processes: the worker" in (await site.get("/health/ready")).text

        await until(told)
        await life.say(None)

        async def over() -> bool:
            return "processes: " not in (await site.get("/health/ready")).text

        await until(over)


async def test_a_worker_without_valkey_says_so(dsn: str, connection: Any) -> None:
    """A worker that can't reach Valkey is told of in PostgreSQL, which it reaches."""
    with started((*COMMAND, "worker"), environ(dsn, "redis://127.0.0.1:1")):

        async def said() -> bool:
            return "Valkey" in str(await wrong(connection))

        await until(said)


async def test_a_process_without_schema_says_what_to_run_once(
    postgres: servers.Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """On a database that was never migrated one line names the command, and once it ran the process goes on."""
    await servers.execute(postgres.dsn(), "create database without_schema")
    try:
        dsn = postgres.dsn("without_schema")
        with caplog.at_level(logging.WARNING, "services.starting"):
            waiting = asyncio.create_task(await_schema(dsn, "projector"))

            async def said() -> bool:
                return bool(caplog.records)

            await until(said)
            await asyncio.sleep(1.2)
            assert [record.getMessage() for record in caplog.records] == [
                f"the projector waits: the database is at migration 0 of {current()}; run `ballotpress migrate`"
            ]
            await migrate(dsn)
            async with asyncio.timeout(PATIENCE):
                await waiting
    finally:
        await servers.execute(postgres.dsn(), "drop database without_schema with (force)")


async def test_another_vault_key_than_the_datas_stops_the_start(shell: Shell, connection: Any) -> None:
    """An API or a worker with a vault key that isn't the data's refuses to start, in one sentence."""
    await Vault([b64encode(b"o" * 32).decode()]).finder(connection)
    shell("worker").failed("BALLOTPRESS_VAULT_KEYS lacks the key", "add it back")
    shell("api").failed("BALLOTPRESS_VAULT_KEYS lacks the key", "add it back")
