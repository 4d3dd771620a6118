"""The signer: it signs what extends what it signed, stores it before anybody sees it, and else refuses and says why."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.log.committer import Committer
from events.log.tasks import end
from projections.engine.projection import create_missing
from services.proof import published, store
from services.proof.checkpoint import Checkpoint
from services.proof.checkpoint import sign as sign_checkpoint
from services.proof.memory import Memory
from services.proof.note import Signer
from tests.support import servers
from tests.support.log import go_back, patient
from tests.support.runners import catch_up
from tests.support.signing import ORIGIN, SEED, VIEW, copied, grow, must_be_consistent, sign, signed, signer

pytestmark = pytest.mark.postgres

Connection = "asyncpg.Connection[Any]"


async def refusal(connection: "asyncpg.Connection[Any]") -> str:
    """Return what the signer refuses with, and the advice; empty if it doesn't."""
    row = await connection.fetchrow("select what, advice from proof.refusal")
    return "" if row is None else f"{row['what']}; {row['advice']}"


async def test_the_first_checkpoint_is_the_log_s(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """It is under the site's origin and our key, stored, in the second memory, and published."""
    await grow(committer, dsn, 3)
    assert await sign(signer(dsn, tmp_path), dsn)
    (first,) = await signed(connection)
    assert (first.origin, first.size) == (ORIGIN, 3)
    await must_be_consistent(connection, [first])
    assert Memory(tmp_path / "checkpoint").read() == first == await published.newest(connection)


async def test_an_empty_log_is_not_signed(connection: "asyncpg.Connection[Any]", dsn: str, tmp_path: Path) -> None:
    """There is nothing to say."""
    assert await sign(signer(dsn, tmp_path), dsn)
    assert await signed(connection) == [] and await published.newest(connection) is None


async def test_each_checkpoint_extends_the_last(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Whatever the sizes: around a tile's width as well."""
    signing = signer(dsn, tmp_path)
    for events in (1, 2, 100, 152, 1, 1, 255, 1):
        await grow(committer, dsn, events)
        assert await sign(signing, dsn)
    found = await signed(connection)
    assert [one.size for one in found] == [1, 3, 103, 255, 256, 257, 512, 513]
    await must_be_consistent(connection, found)


async def test_an_idle_log_costs_no_write(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Looking again, by this signer or another, takes no transaction id: nothing is written."""
    signing, other = signer(dsn, tmp_path), signer(dsn, tmp_path / "other")
    await grow(committer, dsn, 3)
    for one in (signing, other):
        assert await sign(one, dsn)
    next_id = "select pg_snapshot_xmax(pg_current_snapshot())"
    before, file = await connection.fetchval(next_id), (tmp_path / "checkpoint").stat()
    for _ in range(5):
        assert await sign(signing, dsn) and await sign(other, dsn)
    assert await connection.fetchval(next_id) == before
    assert (tmp_path / "checkpoint").stat() == file


async def test_a_changed_base_url_changes_no_origin(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """The origin is fixed by the first signature."""
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    moved = signer(dsn, tmp_path)
    moved._base_url = "https://elsewhere.test"
    await grow(committer, dsn)
    assert await sign(moved, dsn)
    assert {one.origin for one in await signed(connection)} == {ORIGIN}


async def test_a_restored_older_backup_is_not_signed(
    postgres: servers.Postgres, committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """The file knows more than the database: refused while the log is shorter, and when it has grown differently."""
    signing = signer(dsn, tmp_path)
    await grow(committer, dsn, 5)
    assert await sign(signing, dsn)
    async with copied(postgres, dsn) as backup:
        async with patient(dsn) as again:
            await grow(again, dsn, 5)
        assert await sign(signing, dsn)
        connection = await asyncpg.connect(backup)
        try:
            assert not await sign(signer(backup, tmp_path), backup)
            assert "ends at position 5" in await refusal(connection) and "that 10 were signed" in await refusal(connection)
            async with patient(backup) as other:
                await grow(other, backup, 7)
            assert not await sign(signer(backup, tmp_path), backup)
            assert "positions from 6 to 10" in await refusal(connection)
            assert "proof restart" in await refusal(connection)
            assert [one.size for one in await signed(connection)] == [5]
            assert (await published.newest(connection)).size == 5  # type: ignore[union-attr]
        finally:
            await connection.close()


async def test_a_file_ahead_of_the_database_is_not_signed_over(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Even where the log holds what it says: an operator must say so."""
    await grow(committer, dsn, 5)
    signing = signer(dsn, tmp_path)
    assert await sign(signing, dsn)
    await grow(committer, dsn, 5)
    assert await sign(signing, dsn)
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute("update proof.log set published_size = 5")
        await connection.execute("delete from proof.checkpoints where size > 5")
    await grow(committer, dsn, 5)
    assert not await sign(signing, dsn)
    said = await refusal(connection)
    assert "checkpoint of size 10, and the database none beyond 5" in said and f"proof resume {tmp_path}" in said
    assert [one.size for one in await signed(connection)] == [5]


async def test_a_database_without_its_notes_is_not_signed_anew(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """An imported log beside the file of the old host waits for an operator."""
    await grow(committer, dsn, 3)
    Memory(tmp_path / "checkpoint").write(sign_checkpoint(ORIGIN, 2, b"r" * 32, [Signer(ORIGIN, SEED)]))
    assert not await sign(signer(dsn, tmp_path), dsn)
    assert "the database knows of none" in await refusal(connection)
    assert await signed(connection) == []


async def test_a_shorter_log_is_not_signed(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """The positions that are gone are named, without a file too."""
    signing = signer(dsn, tmp_path)
    await grow(committer, dsn, 8)
    assert await sign(signing, dsn)
    await go_back(connection, 6)
    (tmp_path / "checkpoint").unlink()
    assert not await sign(signing, dsn)
    assert "ends at position 6, and 8 positions were signed" in await refusal(connection)
    await go_back(connection, 7 - 1)
    assert [one.size for one in await signed(connection)] == [8]


@pytest.mark.parametrize("position", [1, 5, 6, 7, 300])
async def test_a_rewritten_log_is_not_signed_and_the_place_is_named(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, position: int
) -> None:
    """An event is changed and the tree made anew: between the two signed sizes around it, the positions are named."""
    signing = signer(dsn, tmp_path)
    for events in (5, 1, 200, 100, 100):  # 5, 6, 206, 306, 406
        await grow(committer, dsn, events)
        assert await sign(signing, dsn)
    await rewrite(connection, position)
    await connection.execute(f"drop schema {VIEW.schema} cascade")
    await create_missing(connection, [VIEW])
    await catch_up(dsn, VIEW)
    await grow(committer, dsn)
    assert not await sign(signing, dsn)
    place = {1: "from 1 to 5", 5: "from 1 to 5", 6: "position 6 is", 7: "from 7 to 206", 300: "from 207 to 306"}[position]
    assert place in await refusal(connection)
    assert len(await signed(connection)) == 5


async def test_a_changed_entry_beside_an_unchanged_tree_is_named_itself(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Where the tiles still know better than the log, the very position is found."""
    signing = signer(dsn, tmp_path)
    await grow(committer, dsn, 300)
    assert await sign(signing, dsn)
    await rewrite(connection, 270)
    await connection.execute(
        f"update {VIEW.schema}.tiles set hashes = overlay(hashes placing '\\x00' from 40) where level = 0 and n = 1"  # noqa: S608
    )
    await grow(committer, dsn)
    assert not await sign(signing, dsn)
    assert "position 258 is" in await refusal(connection)


async def rewrite(connection: "asyncpg.Connection[Any]", position: int) -> None:
    """Change an event, past the triggers."""
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")
        await connection.execute(
            "update log.events set data = jsonb_set(data, '{tagline}', '\"forged\"') where position = $1", position
        )


@pytest.mark.parametrize("content", [b"", b"nonsense", b"site.test/log/1\n5\n"])
async def test_a_broken_file_is_not_signed_over(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, content: bytes
) -> None:
    """Its sentence says what to do about it."""
    await grow(committer, dsn)
    (tmp_path / "checkpoint").write_bytes(content)
    assert not await sign(signer(dsn, tmp_path), dsn)
    assert "holds no checkpoint" in await refusal(connection)
    (tmp_path / "checkpoint").unlink()
    assert await sign(signer(dsn, tmp_path), dsn)
    assert await refusal(connection) == ""


async def test_a_file_of_another_log_is_not_signed_over(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Two sites that share a file by mistake don't take each other's place."""
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    other = "other.test/log/1"
    Memory(tmp_path / "checkpoint").write(sign_checkpoint(other, 1, b"r" * 32, [Signer(other, SEED)]))
    await grow(committer, dsn)
    assert not await sign(signer(dsn, tmp_path), dsn)
    assert f"a checkpoint of {other}" in await refusal(connection)


async def test_a_file_that_cannot_be_written_keeps_the_note_from_being_served(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """It is stored, and published when a file can be written again."""
    await grow(committer, dsn)
    assert not await sign(signer(dsn, Path("/proc/nowhere")), dsn)
    assert "BALLOTPRESS_CHECKPOINT_FILE" in await refusal(connection)
    (stored,) = await signed(connection)
    assert await published.newest(connection) is None
    assert await sign(signer(dsn, tmp_path), dsn)
    assert await published.newest(connection) == stored and await signed(connection) == [stored]


async def test_an_unknown_key_does_not_sign(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """A key that the log never announced is refused, beside a known one it is left out."""
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    await grow(committer, dsn)
    assert not await sign(signer(dsn, tmp_path, b"x" * 32), dsn)
    assert "never been announced" in await refusal(connection)
    assert await sign(signer(dsn, tmp_path, b"x" * 32, SEED), dsn)
    assert all(one.note.count("— ") == 1 for one in await signed(connection))


async def test_two_signers_never_disagree(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """Two that run at once, each with a file of its own, sign one history."""
    one, two = signer(dsn, tmp_path / "a"), signer(dsn, tmp_path / "b")
    for _ in range(12):
        await grow(committer, dsn, 3)
        assert all(await asyncio.gather(sign(one, dsn), sign(two, dsn), sign(one, dsn), sign(two, dsn)))
    found = await signed(connection)
    await must_be_consistent(connection, found)
    assert found[-1].size == 36 and await published.newest(connection) == found[-1]


async def test_a_running_signer_keeps_a_second_apart(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path
) -> None:
    """However often it is woken."""
    signing = signer(dsn, tmp_path)
    task = asyncio.create_task(signing.run())
    try:
        for _ in range(20):
            await grow(committer, dsn)
            signing.wake.set()
            await asyncio.sleep(0.1)
    finally:
        await end(task)
    times = [row["signed_at"] for row in await connection.fetch("select signed_at from proof.checkpoints order by size")]
    assert times and all((b - a).total_seconds() >= 0.98 for a, b in pairwise(times))


@pytest.mark.parametrize(
    "statement",
    [
        "update proof.checkpoints set note = 'x'",
        "update proof.checkpoints set signed_at = now() - interval '1 year'",
        "delete from proof.checkpoints",
        "truncate proof.checkpoints cascade",
        "insert into proof.checkpoints (log, size, root, note) values (1, 1, decode(repeat('00', 32), 'hex'), 'x')",
        "update proof.log set origin = 'x'",
        "update proof.log set published_size = 0",
        "delete from proof.log",
    ],
)
async def test_what_was_signed_stays(
    connection: "asyncpg.Connection[Any]", committer: Committer, dsn: str, tmp_path: Path, statement: str
) -> None:
    """No statement changes or removes a checkpoint, or makes what is published smaller."""
    await grow(committer, dsn)
    assert await sign(signer(dsn, tmp_path), dsn)
    before = await signed(connection)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute(statement)
    assert await signed(connection) == before


async def test_old_checkpoints_are_thinned_out(connection: "asyncpg.Connection[Any]") -> None:
    """All of a day stay; then the last of each hour, the last cosigned one of each hour, what was mailed, what is published."""
    await connection.execute("insert into proof.log (log, origin, vkeys, published_size) values (1, 'o', '{}', 7)")
    at = "date_trunc('hour', now()) - interval '{} hours' + interval '{} minutes'"
    rows = [  # size: hours ago, minutes
        (1, 50, 1), (2, 50, 2), (3, 50, 3), (4, 49, 1), (5, 49, 2), (6, 49, 3), (7, 48, 1), (8, 48, 2), (9, 20, 1), (10, 20, 2),
    ]  # fmt: skip
    for size, hours, minutes in rows:
        await connection.execute(
            "insert into proof.checkpoints (log, size, root, note, signed_at)"  # noqa: S608
            f" values (1, $1, decode(repeat('00', 32), 'hex'), 'n', {at.format(hours, minutes)})",
            size,
        )
    await connection.execute("insert into proof.cosignatures values (1, 4, 'w', 'l', now()), (1, 5, 'w', 'l', now())")
    await published.keep(connection, Checkpoint("o", 1, b"", ""), "issue 1")
    assert await store.prune(connection) == 2
    sizes = [row["size"] for row in await connection.fetch("select size from proof.checkpoints order by size")]
    assert sizes == [1, 3, 5, 6, 7, 8, 9, 10]
    assert await store.prune(connection) == 0
