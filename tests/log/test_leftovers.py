"""What is left on disk of a key that was destroyed: nothing, once the worker's daily job has run, of however many keys."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from events.log.leftovers import Swept, leftover_seconds, remove_leftovers
from events.log.vault import Vault, destroy
from services.newsletter.schedule import Schedule
from services.status.read import read_status
from tests.support import servers
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside

VAULT_KEY = base64.b64encode(bytes(range(32))).decode()
NEW_KEY = base64.b64encode(bytes(range(1, 33))).decode()
NOTHING = Swept(0, 0)

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    """A PostgreSQL of the module's own, tuned as `up` tunes it, whose files can be read."""
    with servers.postgres(wal_recycle="off", autovacuum="off") as server:
        asyncio.run(servers.make_template(server))
        yield server


@pytest.fixture
async def own_dsn(server: servers.Postgres) -> AsyncIterator[str]:
    """A migrated database there."""
    async with servers.database(server, servers.TEMPLATE) as dsn:
        yield dsn


@pytest.fixture
async def own(own_dsn: str) -> AsyncIterator[Any]:
    """A connection to it."""
    connection = await asyncpg.connect(own_dsn)
    yield connection
    await connection.close()


async def keep(connection: Any, owner: str) -> bytes:
    """Store a new key; return its wrapped bytes."""
    _, effect = Vault([VAULT_KEY]).new_key(owner)
    await connection.execute(effect.sql, *effect.args)
    wrapped: bytes = effect.args[1]
    return wrapped


async def destroyed(connection: Any, *owners: str) -> None:
    """Destroy owners' keys."""
    for owner in owners:
        effect = destroy(owner)
        await connection.execute(effect.sql, *effect.args)


async def test_a_destroyed_key_is_gone_from_every_file(server: servers.Postgres, own: Any, own_dsn: str) -> None:
    """Heap and WAL hold the key's bytes after its row is gone, and no more after the job; the other keys are still there."""
    gone, kept = await keep(own, "one"), await keep(own, "two")
    await own.execute("checkpoint")
    assert any("base/" in file for file in server.files_with(gone)), "the test sees what is on disk"
    await destroyed(own, "one")
    await own.execute("checkpoint")
    assert len({file.split("/")[0] for file in server.files_with(gone)}) == 2, "heap and WAL"
    assert await leftover_seconds(own) > 0
    assert await remove_leftovers(own_dsn) == Swept(1, 0)
    assert server.files_with(gone) == []
    assert server.files_with(kept) != []
    assert [row["owner"] for row in await own.fetch("select owner from vault.keys")] == ["two"]
    assert await leftover_seconds(own) == 0


async def test_a_part_is_written_anew_only_when_it_must_be(own: Any, own_dsn: str) -> None:
    """After an erasure or a rewrap the parts concerned are written anew, once each, and the others stay as they are."""
    files = (
        "select array_agg(pg_relation_filenode(inhrelid) order by inhrelid) from pg_inherits"
        " where inhparent = 'vault.keys'::regclass"
    )
    await keep(own, "one")
    before = await own.fetchval(files)
    assert await remove_leftovers(own_dsn) == NOTHING
    assert await own.fetchval(files) == before
    assert await Vault([NEW_KEY, VAULT_KEY]).rewrap(own) == 1
    assert await remove_leftovers(own_dsn) == Swept(1, 0)
    after = await own.fetchval(files)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert await remove_leftovers(own_dsn) == NOTHING


async def test_what_the_job_has_no_time_for_is_left_to_the_command(server: servers.Postgres, own: Any, own_dsn: str) -> None:
    """A job that would keep people waiting leaves the part as it is and loses nothing; `keys sweep` has the time."""
    gone = await keep(own, "one")
    part = await own.fetchval("select tableoid::regclass::text from vault.keys")
    await own.execute("insert into vault.keys select 'n' || n, 'x', 'y' from generate_series(1, 20000) n")
    await destroyed(own, "one")
    assert await remove_leftovers(own_dsn, 0.001) == Swept(0, 1)
    assert await own.fetchval("select count(*) from vault.keys") == 20_000
    assert server.files_with(gone) != []
    assert [row["part"] for row in await own.fetch("select part from vault.leftovers")] == [part.removeprefix("vault.")]
    swept = Ran(run_inside(("keys", "sweep", "--json"), b"", environ(own_dsn, "unix:///nowhere")))
    assert swept.json() == {"swept": True, "parts": 1, "left": 0}
    assert server.files_with(gone) == []


async def test_parts_in_use_wait_for_the_next_run(server: servers.Postgres, own: Any, own_dsn: str, monkeypatch: Any) -> None:
    """A part that is locked, or of which an old snapshot sees a key, is left; all others are done, and the next run ends it."""
    monkeypatch.setattr("events.log.leftovers.WAITS_MS", 20)
    gone = {owner: await keep(own, owner) for owner in ("one", "two")}
    rows = await own.fetch("select owner, tableoid::regclass::text as part from vault.keys")
    parts = {row["owner"]: row["part"] for row in rows}
    assert parts["one"] != parts["two"]
    another = await asyncpg.connect(own_dsn)
    async with another.transaction():
        await another.execute(f"lock table {parts['one']} in access share mode")
        await destroyed(own, *gone)
        assert await remove_leftovers(own_dsn) == Swept(1, 1)
        assert {owner: server.files_with(key) != [] for owner, key in gone.items()} == {"one": True, "two": False}
    async with another.transaction(isolation="repeatable_read"):
        await another.fetch("select 1 from log.head")
        await keep(own, "two")
        await destroyed(own, "two")
        assert await remove_leftovers(own_dsn) == Swept(1, 1)
        swept = Ran(run_inside(("keys", "sweep"), b"", environ(own_dsn, "unix:///nowhere")))
        assert (swept.status, "1 part of the vault may still hold" in swept.out) == (1, True)
    await another.close()
    assert await remove_leftovers(own_dsn) == Swept(1, 0)
    assert server.files_with(gone["one"]) == []


async def test_many_keys_are_swept_a_part_at_a_time(own: Any, own_dsn: str) -> None:
    """After a rewrap of thousands of keys no lock is held on more than one part, and each is held for its own time only."""
    await own.execute("insert into vault.keys select 'n' || n, $1, 'y' from generate_series(1, 4000) n", os.urandom(60))
    await own.execute("update vault.keys set wrapped_under = 'z'")
    steps: list[tuple[int, int]] = []
    assert await remove_leftovers(own_dsn, report=lambda done, of: steps.append((done, of))) == Swept(32, 0)
    assert steps == [(done, 32) for done in range(1, 33)]
    assert await own.fetchval("select count(*) from vault.keys") == 4000


async def test_status_says_what_is_unfinished(own: Any, own_dsn: str) -> None:
    """Keys not yet rewrapped, and destroyed ones that stay on disk for days, are problems with a command until it was run."""

    async def said(*keys: str) -> str:
        vault = Vault(keys)
        status = await read_status(own, Schedule(0, 9, "UTC"), vault=vault)
        return "\n".join(f"{problem.what} {problem.advice}" for problem in status.problems)

    for owner in ("one", "two"):
        await keep(own, owner)
    assert "older vault key: 2 `ballotpress keys rewrap`" in await said(NEW_KEY, VAULT_KEY)
    await Vault([NEW_KEY, VAULT_KEY]).rewrap(own)
    assert "rewrap" not in await said(NEW_KEY, VAULT_KEY)
    assert "keys sweep" not in await said(NEW_KEY, VAULT_KEY)
    await own.execute("update vault.leftovers set since = now() - interval '50 hours'")
    assert "50 hours ago may still be on the disk `ballotpress keys sweep`" in await said(NEW_KEY)
    await remove_leftovers(own_dsn)
    assert "keys sweep" not in await said(NEW_KEY)
