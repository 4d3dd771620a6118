"""Behind standbys only what they have on their disks is signed; without any, all at once; by age where it can't be seen."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from services.proof.replicas import HIDDEN_SECONDS, Replicas
from tests.support import servers
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.signing import grow, sign, signed, signer

pytestmark = pytest.mark.postgres


@contextmanager
def receiving(postgres: servers.Postgres, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Receive the server's WAL into a folder, flushed at once, as a standby does."""
    folder.mkdir()
    process = subprocess.Popen(
        [
            *(servers.postgres_programs() / "pg_receivewal", "--synchronous", "--no-loop", "-D", folder),
            *("-h", postgres.folder, "-p", "5432", "-U", "postgres"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(PATIENCE)


async def one_streams(connection: "asyncpg.Connection[Any]") -> bool:
    """Tell whether a standby receives what is written."""
    return bool(await connection.fetchval("select count(*) from pg_stat_replication where state = 'streaming'"))


async def test_what_a_standby_lacks_is_not_signed(
    postgres: servers.Postgres, connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """While it stands still nothing new is signed; when it has caught up, all is; when it has gone, at once."""
    signing = signer(dsn, tmp_path)

    async def is_signed() -> bool:
        assert await sign(signing, dsn)
        sizes = [one.size for one in await signed(connection)]
        return bool(sizes) and sizes[-1] == await connection.fetchval("select position from log.head")

    with receiving(postgres, tmp_path / "wal") as standby:
        await until(lambda: one_streams(connection))
        await grow(committer, dsn, 3)
        await until(is_signed)
        standby.send_signal(signal.SIGSTOP)
        await grow(committer, dsn, 2)
        for _ in range(10):
            assert not await is_signed()
        standby.send_signal(signal.SIGCONT)
        await until(is_signed)

    async def gone() -> bool:
        return not await connection.fetchval("select count(*) from pg_stat_replication")

    await until(gone)
    await grow(committer, dsn, 1)
    assert await is_signed()


WRITTEN_AND_FLUSHED = """
select pg_current_wal_insert_lsn()::text as next, pg_current_wal_flush_lsn() as written, min(flush_lsn) as flushed
from pg_stat_replication
"""


async def test_a_standby_lacks_nothing_after_a_backup(
    postgres: servers.Postgres, connection: "asyncpg.Connection[Any]", tmp_path: Path
) -> None:
    """A backup ends with a new file of the WAL: what is signed then is all, though nothing more is written."""
    with receiving(postgres, tmp_path / "wal"):
        await until(lambda: one_streams(connection))
        await connection.execute("select pg_logical_emit_message(true, '', 'the end of a backup')")
        await connection.execute("select pg_switch_wal()")

        async def all_is_safe() -> bool:
            before = await connection.fetchrow(WRITTEN_AND_FLUSHED)
            assert before is not None
            safe = await Replicas(0).safe(connection, 5, 0.0)
            if before["written"] != before["flushed"] or before != await connection.fetchrow(WRITTEN_AND_FLUSHED):
                return False
            assert safe == 5, before
            return True

        await until(all_is_safe)


async def test_where_a_standby_can_not_be_seen_age_decides(
    postgres: servers.Postgres, connection: "asyncpg.Connection[Any]", tmp_path: Path
) -> None:
    """A role that may not look at standbys signs what is ten seconds old."""
    await connection.execute("create role plain login")
    with receiving(postgres, tmp_path / "wal"):
        await until(lambda: one_streams(connection))
        await connection.execute("set role plain")
        replicas = Replicas(0)
        assert await replicas.safe(connection, 5, 100.0) == 0
        assert await replicas.safe(connection, 9, 100.0 + HIDDEN_SECONDS - 1) == 0
        assert await replicas.safe(connection, 9, 100.0 + HIDDEN_SECONDS) == 5
        assert await replicas.safe(connection, 9, 100.0 + 2 * HIDDEN_SECONDS) == 9
        await connection.execute("reset role")
    await connection.execute("drop role plain")


async def test_a_chosen_age_holds_without_standbys_too(connection: "asyncpg.Connection[Any]") -> None:
    """BALLOTPRESS_SIGN_AFTER_SECONDS: nothing younger is signed."""
    replicas = Replicas(3)
    assert [await replicas.safe(connection, size, at) for size, at in ((5, 0.0), (6, 1.0), (6, 3.0), (7, 4.5))] == [0, 0, 5, 6]
    assert await Replicas(0).safe(connection, 5, 0.0) == 5
