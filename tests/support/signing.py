"""A signer on a test's database, a log that grows in front of it, and what must hold of all that it ever signed."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from events.log.committer import Committer
from projections import merkle, proof
from projections.registry import PROJECTIONS
from services.proof.checkpoint import Checkpoint, read_checkpoint
from services.proof.memory import Memory
from services.proof.note import read_vkey
from services.proof.signer import Keys, Signing, connect
from tests.support import servers
from tests.support.log import add_tools
from tests.support.runners import catch_up

VIEW = next(projection for projection in PROJECTIONS if projection.name == "proof")
SEED = b"k" * 32
SITE = "https://site.test"
ORIGIN = "site.test/log/1"

_numbers = itertools.count(1)


async def grow(committer: Committer, dsn: str, events: int = 1) -> None:
    """Let the log and its tree grow by some events."""
    await add_tools(committer, *(f"grown-{next(_numbers)}" for _ in range(events)))
    await catch_up(dsn, VIEW)


def signer(dsn: str, folder: Path, *seeds: bytes, **options: Any) -> Signing:
    """Return a signer whose second memory is in a folder."""
    return Signing(dsn, Keys(seeds or (SEED,)), SITE, Memory(folder / "checkpoint"), **options)


async def sign(signing: Signing, dsn: str) -> bool:
    """Let a signer look once; return False if it refuses."""
    connection = await connect(dsn)
    try:
        return await signing.turn(connection)
    finally:
        await connection.close()


async def signed(connection: "asyncpg.Connection[Any]") -> list[Checkpoint]:
    """Return every checkpoint that is stored, in order."""
    rows = await connection.fetch(
        "select l.origin, c.size, c.root, c.note from proof.checkpoints c join proof.log l using (log) order by c.log, c.size"
    )
    return [Checkpoint(*row) for row in rows]


async def must_be_consistent(connection: "asyncpg.Connection[Any]", checkpoints: Sequence[Checkpoint]) -> None:
    """Assert that notes are what they say, under our key, and that each is a prefix of the log as it is now."""
    leaves = [merkle.leaf_hash(entry) for entry in await proof.entries(connection, 0, 2**40)]
    vkeys = await connection.fetchval("select vkeys from proof.log order by log desc limit 1")
    for one in checkpoints:
        assert read_checkpoint(one.note.encode(), [read_vkey(vkey) for vkey in vkeys]) == one
        assert one.root == root_of(leaves[: one.size]), one


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of some leaves, as RFC 6962 defines it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else merkle.EMPTY_ROOT
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return merkle.node_hash(root_of(leaves[:left]), root_of(leaves[left:]))


@asynccontextmanager
async def copied(postgres: servers.Postgres, dsn: str) -> AsyncIterator[str]:
    """Copy the database as it is, as a backup does."""
    name = dsn.partition("@/")[2].partition("?")[0]
    await servers.execute(
        postgres.dsn(),
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'",  # noqa: S608
    )
    async with servers.database(postgres, name) as backup:
        yield backup
