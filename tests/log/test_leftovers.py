"""What is left on disk of a key that was destroyed: nothing, once the worker's daily job has run."""

import base64
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.log.leftovers import remove_leftovers
from events.log.vault import Vault, destroy
from services.migrate import migrate
from tests.support import servers
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside

VAULT_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
async def server() -> AsyncIterator[servers.Postgres]:
    """A PostgreSQL of the test's own, tuned as `up` tunes it, whose files can be read."""
    with servers.postgres(wal_recycle="off", autovacuum="off") as server:
        await migrate(server.dsn())
        yield server


@pytest.fixture
async def own(server: servers.Postgres) -> AsyncIterator[Any]:
    """A connection to it."""
    connection = await asyncpg.connect(server.dsn())
    yield connection
    await connection.close()


def files_with(server: servers.Postgres, bytes_: bytes) -> list[str]:
    """Return the files of the server's data folder that hold these bytes."""
    files = (file for file in (server.folder / "data").rglob("*") if file.is_file())
    return [str(file.relative_to(server.folder / "data")) for file in files if bytes_ in file.read_bytes()]


async def keep(connection: Any, owner: str) -> bytes:
    """Store a new key; return its wrapped bytes."""
    _, effect = Vault([VAULT_KEY]).new_key(owner)
    await connection.execute(effect.sql, *effect.args)
    wrapped: bytes = effect.args[1]
    return wrapped


async def test_a_destroyed_key_is_gone_from_every_file(server: servers.Postgres, own: Any) -> None:
    """Heap and WAL hold the key's bytes after its row is gone, and no more after the job; the other keys are still there."""
    destroyed, kept = await keep(own, "one"), await keep(own, "two")
    await own.execute("checkpoint")
    assert any("base/" in file for file in files_with(server, destroyed)), "the test sees what is on disk"
    effect = destroy("one")
    await own.execute(effect.sql, *effect.args)
    await own.execute("checkpoint")
    assert len({file.split("/")[0] for file in files_with(server, destroyed)}) == 2, "heap and WAL"
    assert await remove_leftovers(server.dsn())
    assert files_with(server, destroyed) == []
    assert files_with(server, kept) != []
    assert [row["owner"] for row in await own.fetch("select owner from vault.keys")] == ["two"]


async def test_nothing_is_written_anew_without_need(server: servers.Postgres, own: Any) -> None:
    """The table is written anew after an erasure or a rewrap, and once only."""
    file = "select pg_relation_filenode('vault.keys')"
    await remove_leftovers(server.dsn())
    await keep(own, "one")
    before = await own.fetchval(file)
    assert not await remove_leftovers(server.dsn())
    assert await own.fetchval(file) == before
    assert await Vault([base64.b64encode(os.urandom(32)).decode(), VAULT_KEY]).rewrap(own) == 1
    assert await remove_leftovers(server.dsn())
    assert not await remove_leftovers(server.dsn())


async def test_a_table_too_large_for_the_job_is_left_to_the_command(server: servers.Postgres, own: Any) -> None:
    """A job that would keep people waiting gives up and loses nothing; `keys sweep` has the time."""
    destroyed = await keep(own, "one")
    await own.execute("insert into vault.keys select 'n' || n, 'x', 'y' from generate_series(1, 20000) n")
    effect = destroy("one")
    await own.execute(effect.sql, *effect.args)
    assert not await remove_leftovers(server.dsn(), 0.001)
    assert await own.fetchval("select count(*) from vault.keys") == 20_000
    assert files_with(server, destroyed) != []
    swept = Ran(run_inside(("keys", "sweep", "--json"), b"", environ(server.dsn(), "unix:///nowhere")))
    assert swept.json() == {"swept": True}
    assert files_with(server, destroyed) == []


async def test_it_waits_for_nobody(server: servers.Postgres, own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a key is in use, or an old snapshot sees one, the job ends at once, and the next run finishes the work."""
    monkeypatch.setattr("events.log.leftovers.WAITS_MS", 20)
    destroyed = await keep(own, "one")
    another = await asyncpg.connect(server.dsn())
    async with another.transaction(isolation="repeatable_read"):
        await another.fetch("select * from vault.keys")
        assert not await remove_leftovers(server.dsn())  # the reader's lock
    async with another.transaction(isolation="repeatable_read"):
        await another.fetch("select 1 from log.head")
        effect = destroy("one")
        await own.execute(effect.sql, *effect.args)
        assert not await remove_leftovers(server.dsn())  # the reader's snapshot
    await another.close()
    assert await remove_leftovers(server.dsn())
    assert files_with(server, destroyed) == []
