"""How the public log stands: what operators and load balancers are told, and when."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from services.proof import health
from services.proof.checkpoint import sign as sign_checkpoint
from services.proof.memory import Memory
from services.proof.note import Signer
from tests.support.runners import catch_up_all, until
from tests.support.settings import OPERATOR, settings
from tests.support.shell import Shell
from tests.support.signing import ORIGIN, SEED, grow, sign, signer
from tests.support.sites import client

pytestmark = pytest.mark.postgres


async def age(connection: "asyncpg.Connection[Any]", seconds: int) -> None:
    """Let every event be as old as this; no view takes that well."""
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("update log.events set recorded_at = now() - $1::interval", timedelta(seconds=seconds))


async def test_a_log_that_is_never_signed_is_no_problem(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str
) -> None:
    """A site without a key has no public log, and says nothing of one."""
    await grow(committer, dsn, 3)
    await age(connection, 3600)
    assert await health.read(connection) is None and health.said(None) is None


async def test_an_idle_log_may_have_been_signed_long_ago(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Nothing waits for a signature."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    await age(connection, 3600)
    assert health.said(await health.read(connection)) is None


async def test_a_log_that_moves_unsigned_for_a_minute_is_a_problem(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Not sooner."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    await grow(committer, dsn, 1)
    assert health.said(await health.read(connection)) is None
    await age(connection, 61)
    wrong = health.said(await health.read(connection))
    assert wrong is not None and "signed up to 3 of 4" in wrong[0]


async def test_a_refusal_is_told_everywhere(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    """Readiness is degraded, `/metrics` has the alarm, both statuses say what to do."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    Memory(tmp_path / "checkpoint").write(sign_checkpoint(ORIGIN, 7, b"r" * 32, [Signer(ORIGIN, SEED)]))
    await grow(committer, dsn, 1)
    assert not await sign(signer(dsn, tmp_path), dsn)
    await catch_up_all(dsn)
    async with client(settings(dsn, valkey_url)) as anyone:

        async def is_ready() -> bool:
            return (await anyone.get("/health/ready")).status_code == 200

        await until(is_ready)
        ready = (await anyone.get("/health/ready")).json()
        assert any("the public log isn't signed any more: the log ends at position 4" in one for one in ready["reasons"])
        assert 'ballotpress_public_log{of="refused"} 1.0' in (await anyone.get("/metrics")).text
        token = {"Authorization": f"Bearer {OPERATOR.token}"}
        told = (await anyone.get("/v1/ops/status", headers=token)).json()
        assert told["public_log"]["signed"] == 3
        assert any("proof restart" in problem["advice"] for problem in told["problems"])
    shown = Shell(tmp_path / "home", dsn, valkey_url)("proof", "status")
    assert shown.status == 1 and "! The public log isn't signed any more" in shown.out
