"""SIGKILL of the signer at every step: never two notes that contradict each other, never one served that isn't stored.

BALLOTPRESS_KILL_ROUNDS says how often it is killed (default 6); with 100, every step is tried.
"""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from events.log.wal import WRITTEN
from services.proof import published
from services.proof.checkpoint import Checkpoint
from services.proof.memory import Memory
from tests.support import survival
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.signing import grow, must_be_consistent, sign, signed, signer

pytestmark = pytest.mark.postgres

FLUSHED = f"select count(*) = 0 from pg_stat_replication where flush_lsn - '0/0' < {WRITTEN}"  # noqa: S608 - our own expression
ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "6"))


async def flushed(connection: "asyncpg.Connection[Any]") -> None:
    """Wait until a standby, if there is one, has all on its disk: nothing else is signed."""

    async def is_flushed() -> bool:
        return bool(await connection.fetchval(FLUSHED))

    await until(is_flushed)


def doomed(dsn: str, folder: Path, at: int) -> int | None:
    """Sign in a process that is killed at a step; return its number of steps if it came to its end."""
    command = [sys.executable, "-m", "tests.support.doomed_signer", dsn, str(folder), str(at)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if ran.returncode == 0:
        return int(ran.stdout)
    assert ran.returncode == -9, ran.stderr
    return None


async def signed_whole(connection: "asyncpg.Connection[Any]", dsn: str, folder: Path) -> None:
    """Let the next signer sign all there is."""
    signing = signer(dsn, folder)

    async def is_signed() -> bool:
        assert await sign(signing, dsn)
        newest = await published.newest(connection)
        return newest is not None and newest.size == await connection.fetchval("select position from log.head")

    await until(is_signed)


@survival.BOTH_WAYS
async def test_a_killed_signer_leaves_one_history(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Whatever was ever stored, in the file or served stays what it was; and the next signer goes on."""
    await grow(committer, dsn, 2)
    while await published.newest(connection) is None:  # behind a replica, what others write meanwhile must be on its disk too
        await flushed(connection)
        steps = doomed(dsn, tmp_path, 0)
    assert steps is not None and steps > 20
    ever: dict[int, Checkpoint] = {}
    todo = random.sample(range(1, steps + 1), steps)
    for n in range(ROUNDS):
        await grow(committer, dsn, 3)
        await flushed(connection)
        doomed(dsn, tmp_path, todo[n % steps])
        stored = {one.size: one for one in await signed(connection)}
        served = await published.newest(connection)
        held = Memory(tmp_path / "checkpoint").read()
        for seen in (*stored.values(), *filter(None, (served, held))):
            assert ever.setdefault(seen.size, seen) == seen
        assert served is not None and stored[served.size] == served
        assert held is not None and stored[held.size] == held and held.size >= served.size
        assert ever.keys() == stored.keys()
        if n % 3 == 2:
            assert await sign(signer(dsn, tmp_path), dsn)
    await signed_whole(connection, dsn, tmp_path)
    await must_be_consistent(connection, [*ever.values(), *await signed(connection)])
