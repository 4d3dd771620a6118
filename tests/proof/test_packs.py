"""Packs: 65,536 entries in one file, made once, never of another history, never of entries that aren't those signed."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from projections import proof
from services.proof.packs import ENTRIES, PackBroken, Packs, PackUnwritable
from tests.support.runners import catch_up
from tests.support.signing import VIEW

pytestmark = pytest.mark.postgres

FILL = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select gen_random_uuid(), h.position + n, clock_timestamp(), 1, 1, 'ToolBookmarked', '{"visitor": "v", "tool": "t"}'
from log.head h, generate_series(1, $1) n
"""


@pytest.fixture
async def full(connection: "asyncpg.Connection[Any]", dsn: str) -> None:
    """A log of a little more than one pack."""
    await connection.execute(FILL, ENTRIES + 10)
    await connection.execute("update log.head set position = $1, recorded_at = now()", ENTRIES + 10)
    await catch_up(dsn, VIEW)


async def test_a_pack_holds_its_entries_and_is_made_once(
    connection: "asyncpg.Connection[Any]", full: None, dsn: str, tmp_path: Path
) -> None:
    """A line an entry; asked for again, by many at once, or by another process, it is the same file."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        packs = Packs(pool, tmp_path / "packs")
        first, *others = await asyncio.gather(*(packs.read(0) for _ in range(4)))
        assert all(other == first for other in others)
        assert gzip.decompress(first).splitlines() == await proof.entries(connection, 0, ENTRIES)
        (file,) = (tmp_path / "packs").iterdir()
        assert file.read_bytes() == first
        file.unlink()
        assert await Packs(pool, tmp_path / "packs").read(0) == first


async def test_a_pack_of_changed_entries_is_not_made(
    connection: "asyncpg.Connection[Any]", full: None, dsn: str, tmp_path: Path
) -> None:
    """One event that was changed since it was hashed keeps the pack from being made; an older file still serves."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        kept = await Packs(pool, tmp_path / "kept").read(0)
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            await connection.execute("""update log.events set data = '{"visitor": "x", "tool": "t"}' where position = 40000""")
        with pytest.raises(PackBroken):
            await Packs(pool, tmp_path / "packs").read(0)
        assert not (tmp_path / "packs").exists()
        assert await Packs(pool, tmp_path / "kept").read(0) == kept


async def test_a_folder_that_cannot_be_written_is_named(full: None, dsn: str) -> None:
    """The error says which variable names another."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        with pytest.raises(PackUnwritable, match="BALLOTPRESS_PACK_DIR"):
            await Packs(pool, Path("/proc/nowhere")).read(0)
