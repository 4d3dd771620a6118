"""The public log: the entry of every type and version, for ever the same bytes; and the tree over them."""

import base64
import io
import json
import random
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from events.ballots import pseudonym
from events.log import ids, store
from events.log.committer import Committer
from events.log.export import export, import_, line
from events.log.vault import Vault
from events.registry import REGISTRY
from projections import merkle, proof
from projections.engine.runner import Halted
from projections.engine.verify import verify
from projections.registry import PROJECTIONS
from projections.sources import SOURCES
from services.clock import now
from tests.oracle import merkle as oracle
from tests.oracle.entries import entry_from
from tests.oracle.proof import entry_of
from tests.support import servers
from tests.support.histories import A_DAY, TOOLS, VAULT_KEY, VOTERS, History, add_three_tools
from tests.support.runners import APPEND_UNKNOWN, Connection, catch_up, rebuild, runner, running, tables, until

PROOF = next(projection for projection in PROJECTIONS if projection.name == "proof")
GOLDEN = Path(__file__).parents[1] / "golden"
ENTRIES: Final = GOLDEN / "entries.jsonl"
STREAM = ids.stream_named("golden")
AT = datetime(2026, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC)


async def write(connection: Connection, position: int, type_: str, version: int, data: str) -> None:
    """Write an event as it would have been at a fixed time."""
    await connection.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)"
        """ values ($1, $2, $3, $4, $5, $6, $7::text::jsonb, '{"operator": "ada"}')""",
        STREAM, position, AT, position, version, type_, data,
    )  # fmt: skip
    await connection.execute("update log.head set position = $1, recorded_at = $2", position, AT)


def golden() -> list[dict[str, Any]]:
    return [json.loads(text) for text in ENTRIES.read_bytes().rstrip(b"\n").split(b"\n")]


async def test_entries_and_leaves_are_for_ever_the_same(connection: Connection) -> None:
    """The entry of each type and version is the bytes that are kept, on every release of PostgreSQL, and so is its hash.

    Never change a line of the file: what was signed once must stay. A new type or version adds lines.
    """
    for position, one in enumerate(golden(), start=1):
        await write(connection, position, one["type"], one["schema_version"], json.dumps(one["data"]))
    entries = await proof.entries(connection, 0, len(golden()))
    assert [entry.decode() for entry in entries] == [one["entry"] for one in golden()]
    assert [merkle.leaf_hash(entry).hex() for entry in entries] == [one["leaf"] for one in golden()]
    rows = await connection.fetch(store.ROWS + " order by position")
    assert [entry_of(entry_from(REGISTRY, row)) for row in rows] == entries


def test_every_type_and_version_has_a_golden_entry() -> None:
    """Whoever adds a type decides what strangers may read of it: `log.entry_form`, in a new migration."""
    samples = {path.stem for path in GOLDEN.glob("*.json")}
    assert {f"{one['type']}.{one['schema_version']}" for one in golden()} == samples


async def test_an_entry_is_made_of_known_types_alone(connection: Connection, dsn: str) -> None:
    """A type or version that no form was said for has no entry and no leaf: the view halts there."""
    await write(connection, 1, "ToolListed", 1, "{}")
    for position, (type_, version) in enumerate([("FromTheFuture", 1), ("VoteCast", 2), ("ToolListed", 2)], start=2):
        await write(connection, position, type_, version, f'{{"voter": "{VOTERS[0]}", "tool": "{TOOLS[0]}", "choice": "ship"}}')
        with pytest.raises(asyncpg.DataError, match=f"no public entry can be made of {type_} version {version}"):
            await proof.entries(connection, position - 1, position)
    with pytest.raises(Halted) as halted:
        await catch_up(dsn, PROOF)
    assert halted.value.position == 2
    assert await proof.size(connection) == 1


@pytest.mark.parametrize("tool", ['a","choice":"skip","x":"aa', "a" * 21, "a" * 21 + "\n", "\u00e4" * 22, "a" * 21 + '"'])
async def test_no_data_breaks_out_of_a_votes_entry(connection: Connection, tool: str) -> None:
    """A tool that is no id, which no command writes, has no entry: nothing in it could be read as another field."""
    data = {"voter": VOTERS[0], "tool": tool, "choice": "ship"}
    await write(connection, 1, "VoteCast", 1, json.dumps(data))
    with pytest.raises(asyncpg.DataError, match="no public entry"):
        await proof.entries(connection, 0, 1)


async def test_ballots_and_lines_are_those_of_python(connection: Connection, committer: Committer) -> None:
    """The name of a ballot is what its voter computes, and what a sealed entry hashes is the event's line of an export."""
    await add_three_tools(committer)
    await History(committer).do(A_DAY)
    for row in await connection.fetch(store.ROWS + " order by position"):
        exported = await connection.fetchval("select log.export_line(e) from log.events e where position = $1", row["position"])
        without_meta = {**row, "meta": None}
        assert exported.encode() == line(store.as_row(without_meta))  # type: ignore[arg-type]  # a mapping will do
    named = await connection.fetchval("select log.ballot($1, $2)", VOTERS[0], TOOLS[0])
    assert named == pseudonym(VOTERS[0], TOOLS[0])


async def test_nobody_is_named(connection: Connection, committer: Committer) -> None:
    """No entry has a visitor's id in it, an operator's name, or what is sealed."""
    await add_three_tools(committer)
    await History(committer).do([*A_DAY, ("read", 0, "request", VOTERS[0]), ("forget", VOTERS[3])])
    head = await connection.fetchval("select position from log.head")
    text = b"\n".join(await proof.entries(connection, 0, head)).decode()
    assert text.count("\n") == head - 1
    for secret in (*VOTERS, "sealed ", '"op"', "display_name"):
        assert secret not in text


async def test_the_tree_proves_each_entry_and_each_earlier_tree(connection: Connection, dsn: str, committer: Committer) -> None:
    """From the view's tiles: the root of any size, a proof of any entry in it, and that it continues any earlier one."""
    await add_three_tools(committer)
    await fill(connection, 600)
    await catch_up(dsn, PROOF, [1, 255, 7])
    size = await proof.size(connection)
    entries = await proof.entries(connection, 0, size)
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert size == len(leaves) == 603
    chosen = random.Random(7)
    for _ in range(60):
        new = chosen.randint(1, size)
        old, index = chosen.randint(1, new), chosen.randrange(new)
        root = merkle.root(new, await proof.tiles(connection, merkle.tiles_for_root(new)))
        assert root == oracle.root(leaves[:new])
        path = merkle.inclusion(index, new, await proof.tiles(connection, merkle.tiles_for_inclusion(index, new)))
        assert merkle.verify_inclusion(index, new, leaves[index], path, root)
        steps = merkle.consistency(old, new, await proof.tiles(connection, merkle.tiles_for_consistency(old, new)))
        assert merkle.verify_consistency(old, new, steps, oracle.root(leaves[:old]), root)
    assert await proof.tiles(connection, [(0, 3), (2, 0)]) == {}


async def fill(connection: Connection, events: int) -> None:
    """Append votes, as nobody casts them but fast."""
    await connection.execute(
        """
        with head as (update log.head set position = position + $1 returning position - $1 as before)
        insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
        select gen_random_uuid(), head.before + n, now(), 1, 1, 'VoteCast',
               jsonb_build_object('voter', 'v' || n, 'tool', $2::text, 'choice', 'ship')
        from head, generate_series(1, $1) n
        """,
        events,
        TOOLS[0],
    )


async def test_an_unknown_event_is_never_a_leaf(connection: Connection, dsn: str, committer: Committer) -> None:
    """The view halts at an event that this release doesn't know, with all leaves before it."""
    await add_three_tools(committer)
    position = await connection.fetchval(APPEND_UNKNOWN)
    with pytest.raises(Halted):
        await catch_up(dsn, PROOF)
    assert await proof.size(connection) == position - 1


def test_leaves_and_nodes_cannot_be_taken_for_each_other() -> None:
    """An entry is hashed behind a zero byte, two hashes behind a one (RFC 6962, 2.1)."""
    assert merkle.leaf_hash(b"") == sha256(b"\0").digest()
    assert merkle.node_hash(b"a", b"b") == sha256(b"\1ab").digest()


TAMPER = "alter table log.events disable trigger events_append_only"
TAMPERS = {
    "a choice": """update log.events set data = data || '{"choice": "skip"}' where position = 300""",
    "a minute": "update log.events set recorded_at = recorded_at - interval '1 hour' where position = 300",
    "a leaf": "update proof_1.tiles set hashes = set_byte(hashes, 32 * 43, 255 - get_byte(hashes, 32 * 43)) where n = 1",
    "a type": "update log.events set type = 'Forged' where position = 300",
    "no event": "delete from log.events where position = 300",
}


@pytest.mark.parametrize("what", TAMPERS)
async def test_what_was_changed_by_hand_shows(connection: Connection, dsn: str, committer: Committer, what: str) -> None:
    """The runner compares tile after tile with the log, names the position that differs, and is silent once it is restored."""
    await add_three_tools(committer)
    await fill(connection, 600)
    await catch_up(dsn, PROOF)
    async with running(runner(dsn, PROOF, look_every=0.05, scrub_every=0.01)):
        await connection.execute(TAMPER)
        (event,) = await connection.fetch("select * from log.events where position = 300")
        tile = (await proof.tiles(connection, [(0, 1)]))[0, 1]
        assert await drift(connection) is None
        await connection.execute(TAMPERS[what])
        await until(lambda: has_drifted(connection))
        assert "300" in (await drift(connection) or "")
        await connection.execute("delete from log.events where position = 300")
        await connection.copy_records_to_table("events", schema_name="log", records=[tuple(event)])
        await connection.execute("update proof_1.tiles set hashes = $1 where level = 0 and n = 1", tile)
        await until(lambda: is_right(connection))


async def test_a_hash_above_that_was_changed_shows(connection: Connection, dsn: str, committer: Committer) -> None:
    """A root of a full tile that isn't that tile's is named by the positions below it."""
    await add_three_tools(committer)
    await fill(connection, 600)
    await catch_up(dsn, PROOF)
    async with running(runner(dsn, PROOF, look_every=0.05, scrub_every=0.01)):
        await connection.execute(
            "update proof_1.tiles set hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40)) where level = 1"
        )
        await until(lambda: has_drifted(connection))
        assert "positions 257 to 512" in (await drift(connection) or "")


async def drift(connection: Connection) -> str | None:
    found: str | None = await connection.fetchval("select drift from proof_1.checkpoint")
    return found


async def has_drifted(connection: Connection) -> bool:
    return await drift(connection) is not None


async def is_right(connection: Connection) -> bool:
    return await drift(connection) is None


async def test_verify_names_the_positions_that_differ(connection: Connection, dsn: str, committer: Committer) -> None:
    """A fresh fold finds a forged event by its position, and everything above it."""
    await add_three_tools(committer)
    await fill(connection, 600)
    await catch_up(dsn, PROOF)
    assert (await verify(dsn, PROOF, REGISTRY, SOURCES)).tables == []
    await connection.execute(TAMPER)
    await connection.execute(TAMPERS["a choice"])
    await connection.execute("""update log.events set data = data || '{"choice": "skip"}' where position = 400""")
    (table,) = (await verify(dsn, PROOF, REGISTRY, SOURCES)).tables
    found = {(row.key["level"], row.key["n"]): list(row.events) for row in table.rows}
    assert found == {(0, 1): [300, 400], (1, 0): []}


UPCAST = """
create or replace view log.recorded_events as
select stream, version, position, type, schema_version,
       case when type = 'ToolAdded' then data || '{"tagline": "as upcast"}' else data end as data, meta, recorded_at
from log.events
"""


async def test_the_root_is_the_logs_alone(
    connection: Connection, dsn: str, committer: Committer, postgres: servers.Postgres, template: str
) -> None:
    """Erasing all that can be erased, upcasting, exporting and importing: each leaves the tree of what was there as it was."""
    await add_three_tools(committer)
    await History(committer).do([*A_DAY, ("read", 0, "request", VOTERS[0]), ("read", 0, "confirm", VOTERS[0])])
    await catch_up(dsn, PROOF)
    size = await proof.size(connection)
    right = await proof.entries(connection, 0, size), (await proof.tiles(connection, [(0, 0)]))[0, 0]
    erasures = [("forget", voter) for voter in VOTERS] + [("read", 0, "erase", VOTERS[0])]
    await History(committer, 500).do(erasures)
    await connection.execute(UPCAST)
    await catch_up(dsn, PROOF)
    anew = await rebuild(connection, dsn, PROOF, [5])
    assert await tables(connection, anew) == await tables(connection, PROOF.schema)
    assert await proof.size(connection) > size
    out = io.BytesIO()
    await export(connection, out, now, lambda done, of: None)
    out.seek(0)
    async with servers.database(postgres, template) as other:
        target = await asyncpg.connect(other)
        await import_(target, REGISTRY, out, 0, lambda done, of: None)
        await catch_up(other, PROOF)
        for one in (connection, target):
            assert await proof.entries(one, 0, size) == right[0]
            assert (await proof.tiles(one, [(0, 0)]))[0, 0][: 32 * size] == right[1]
        assert await proof.tiles(target, [(0, 0)]) == await proof.tiles(connection, [(0, 0)])
        await target.close()


async def test_a_restored_dump_and_rewrapped_keys_leave_the_tree_as_it_was(
    connection: Connection, dsn: str, committer: Committer, postgres: servers.Postgres
) -> None:
    """The tree hashes neither keys nor anything of a server: a dump restored elsewhere has the same, folded anew too."""
    await add_three_tools(committer)
    await History(committer).do([*A_DAY, ("read", 0, "request", VOTERS[0]), ("read", 0, "confirm", VOTERS[0])])
    await catch_up(dsn, PROOF)
    right = await proof.tiles(connection, [(0, 0)])
    assert await Vault([base64.b64encode(bytes(range(32))).decode(), VAULT_KEY]).rewrap(connection)
    async with servers.database(postgres) as other:
        servers.dump_and_restore(dsn, other)
        target = await asyncpg.connect(other)
        assert await proof.tiles(target, [(0, 0)]) == right
        anew = await rebuild(target, other, PROOF, [7])
        assert await tables(target, anew) == await tables(connection, PROOF.schema)
        await target.close()
