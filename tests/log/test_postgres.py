"""What every connection asks of the server, whatever the server's own settings are."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.log import postgres
from tests.support.log import add_tools, patient
from tests.support.servers import Postgres

HOSTILE = {
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "transaction_timeout": "5000",
    "jit": "on",
}
"""What an operator or a hosted database may have set for the role that we connect as."""

RIGHT = HOSTILE | {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "jit": "off",
}


@pytest.fixture
async def role(connection: "asyncpg.Connection[Any]", postgres: Postgres, dsn: str) -> AsyncIterator[str]:
    """A role of the test's own that may do all; give the DSN to connect as it."""
    name = f"role_of_{dsn.partition('@/')[2].partition('?')[0]}"
    await connection.execute(f"create role {name} superuser login")
    yield dsn.replace("postgres@/", f"{name}@/")
    await connection.execute(f"drop owned by {name}")
    await connection.execute(f"drop role {name}")


async def give(connection: "asyncpg.Connection[Any]", role: str, settings: dict[str, str]) -> None:
    """Set what the server knows of these for every session of a role."""
    name = role.partition("//")[2].partition("@")[0]
    for setting, value in settings.items():
        if await connection.fetchval("select current_setting($1, true)", setting) is not None:
            await connection.execute(f"alter role {name} set {setting} = '{value}'")


async def seen(connection: Any) -> dict[str, str]:
    """Return how these settings stand in a session; one that the server doesn't know is as we want it."""
    rows = await connection.fetch(
        "select s.name, current_setting(s.name, true) as value from unnest($1::text[]) as s(name)", [*RIGHT]
    )
    return {row["name"]: RIGHT[row["name"]] if row["value"] is None else row["value"] for row in rows}


async def test_no_promise_rests_on_a_roles_settings(connection: "asyncpg.Connection[Any]", role: str) -> None:
    """Isolation, durability and time-outs are ours on every kind of connection, and the log appends as ever."""
    await give(connection, role, HOSTILE)
    plain = await postgres.connect(role, "test")
    assert await seen(plain) == RIGHT
    await plain.close()
    async with postgres.pool(role, "test", size=1, seconds=60) as pool:
        assert await seen(pool) == RIGHT
        await pool.fetchval("select pg_sleep(0.05)")
        assert await seen(pool) == RIGHT  # of the same connection, given back and taken again
    appender = await postgres.connect_appender(role)
    ours = {"lock_timeout": "2s", "statement_timeout": "5s", "idle_in_transaction_session_timeout": "1500ms"}
    assert await seen(appender) == RIGHT | ours
    await appender.close()
    async with patient(role) as committer:
        await add_tools(committer, "a")


@pytest.mark.parametrize("stronger", ["remote_apply", "on", "local"])
async def test_what_waits_for_more_than_the_disk_is_kept(
    connection: "asyncpg.Connection[Any]", role: str, stronger: str
) -> None:
    """A server whose commits wait for its standbys, or for its own disk alone, goes on to do so."""
    await give(connection, role, {"synchronous_commit": stronger})
    plain = await postgres.connect(role, "test")
    assert await plain.fetchval("show synchronous_commit") == stronger
    await plain.close()


async def test_no_promise_rests_on_what_the_server_reads_later(connection: "asyncpg.Connection[Any]", dsn: str) -> None:
    """A configuration that is read anew, while sessions are open, takes nothing from them."""
    ours = await postgres.connect(dsn, "test")
    try:
        await connection.execute("alter system set synchronous_commit = off")
        await connection.execute("select pg_reload_conf()")
        while await connection.fetchval("show synchronous_commit") == "on":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert await ours.fetchval("show synchronous_commit") == "on"
    finally:
        await connection.execute("alter system reset synchronous_commit")
        await connection.execute("select pg_reload_conf()")
    await ours.close()


async def test_views_may_commit_asynchronously(dsn: str) -> None:
    """Who asks for commits that don't wait has them: a view's tables and checkpoint go back together."""
    plain = await postgres.connect(dsn, "test", synchronous_commit="off")
    assert await plain.fetchval("show synchronous_commit") == "off"
    await plain.close()
