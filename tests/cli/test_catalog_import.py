"""What an import of a catalog promises: whole or not at all, once, however it is raced."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from click import ClickException

from events.catalog import VIEW, ToolNotListed
from events.catalog_file import CatalogFile, CatalogInvalid, Pair
from events.commands.ballots import CastVote
from events.commands.catalog import ImportCatalog
from events.commands.quarantine import DropEvent
from events.log.command import Decision, IdempotencyKey, Receipt, Seen
from events.log.committer import Committer
from events.log.large import TRIES
from events.log.transaction import KeyReused
from events.registry import REGISTRY
from projections.engine import drift
from projections.engine.projection import Projection, connect
from projections.engine.window import dropped_positions
from projections.registry import PROJECTIONS, named
from services.cli.catalog import import_catalog
from services.cli.up import DEMO
from tests.oracle.compare import differences
from tests.support.catalogs import file, import_tools, new_id, opinion, tool
from tests.support.processes import PATIENCE
from tests.support.runners import CARDS, catch_up_all
from tests.support.settings import environ, settings
from tests.support.shell import COMMAND
from tests.support.survival import BOTH_WAYS


def command(said: CatalogFile) -> ImportCatalog:
    return ImportCatalog.of(said, new_id, "op")


async def types(connection: Any) -> list[str]:
    return [row["type"] for row in await connection.fetch("select type from log.events order by position")]


SMALL = file(tool(panel=[opinion()]), tool("beta", listed=False), comparisons=(("alpha", "beta"),))


async def test_the_same_file_twice_appends_nothing(committer: Committer, connection: Any) -> None:
    """A second import of a file finds nothing to change."""
    first = await committer.submit(command(SMALL))
    assert (first.value, first.appended, first.position) == (5, 5, 5)
    assert await types(connection) == ["ToolAdded", "PanelReviewPublished", "ToolAdded", "ToolUnlisted", "ComparisonAnnounced"]
    assert (await committer.submit(command(SMALL))).value == 0
    assert await connection.fetchval("select count(*) from log.events where meta->>'operator' = 'op'") == 5


SHOWN = """
select (select tagline from {cards}.tools where slug = 'alpha'), (select listed from {cards}.tools where slug = 'alpha'),
       (select listed from {cards}.tools where slug = 'beta'), (select sum(ship) from {cards}.tallies),
       (select count(*) from {cards}.panel), (select count(*) from {cards}.pairs)
"""
DROPPED = {
    "ToolAdded": 1,
    "PanelReviewPublished": 2,
    "ToolUnlisted": 4,
    "ComparisonAnnounced": 5,
    "ToolDescribed": 6,
}


@pytest.mark.parametrize("position", DROPPED.values(), ids=DROPPED)
@pytest.mark.parametrize("sizes", [[1], [20_000]])
async def test_what_the_cards_were_let_pass_is_appended_by_the_next_import(
    committer: Committer, connection: Any, dsn: str, position: int, sizes: list[int]
) -> None:
    """After `quarantine drop` the catalog lacks an event; the file brings it back as a new one, once, and no view halts."""
    await committer.submit(command(SMALL))
    said = file(tool(panel=[opinion()], tagline="new"), tool("beta", listed=False), comparisons=(("alpha", "beta"),))
    await committer.submit(command(said))
    assert (await types(connection))[position - 1] == next(type_ for type_, at in DROPPED.items() if at == position)
    await committer.submit(DropEvent([VIEW], position, "it could not be folded", "op"))
    await committer.submit(CastVote(new_id(), "alpha", "ship"))
    assert (await committer.submit(command(said))).value > 0
    assert (await committer.submit(command(said))).value == 0
    await catch_up_all(dsn, sizes)
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
        assert (await drifted(dsn, projection)) is None
    assert await connection.fetchrow(named(SHOWN)) == ("new", True, False, 1, 1, 1)


async def drifted(dsn: str, projection: Projection) -> str | None:
    """Return what a look at a view's totals finds wrong."""
    view = await connect(dsn, projection.schema)
    try:
        dropped = await dropped_positions(view, projection)
        return (await drift.look(view, projection, dropped))[0]
    finally:
        await view.close()


def test_the_catalogs_view_is_a_projection() -> None:
    """The name by which the rules know what is passed over is that of the projection of cards."""
    assert CARDS.name == VIEW


def large(tools: int = 200, **changes: Any) -> CatalogFile:
    """A file of more events than are decided while all others wait."""
    panel = [opinion(f"Persona {n}") for n in range(2)]
    said = [tool(f"t{n}", panel=panel, **changes) for n in range(tools)]
    return file(*said, comparisons=tuple((f"t{n}", f"t{n + 1}") for n in range(tools - 1)))


def events_of(said: CatalogFile) -> int:
    return sum(1 + len(tool.panel) for tool in said.tools) + len(said.comparisons)


async def test_a_large_file_is_one_batch(committer: Committer, connection: Any) -> None:
    """All of a file of any size has one time in the log, in the file's order; the second time it appends nothing."""
    await import_tools(committer, "t7")
    said = large()
    told: list[tuple[int, int]] = []
    receipt = await committer.submit(command(said), lambda done, of: told.append((done, of)))
    assert (receipt.value, receipt.position) == (events_of(said) - 1, events_of(said))
    assert told[-1] == (receipt.value, receipt.value)
    assert await connection.fetchval("select count(distinct recorded_at) from log.events") == 2
    assert (await types(connection))[1:4] == ["ToolAdded", "PanelReviewPublished", "PanelReviewPublished"]
    assert await connection.fetchval("select position from log.head") == receipt.position
    assert (await committer.submit(command(said))).value == 0
    assert (await committer.submit(command(large(tagline="new")))).value == len(said.tools)
    assert (await committer.submit(CastVote(new_id(), "t199", "ship"))).appended == 1


async def test_a_large_file_with_a_fault_in_its_end_appends_nothing(committer: Committer, connection: Any) -> None:
    """A pair of an unknown tool at the end of a file keeps all of it out."""
    said = large()
    faulty = CatalogFile(tools=said.tools, comparisons=[*said.comparisons, Pair(left="t1", right="nobody")])
    with pytest.raises(CatalogInvalid, match="nobody"):
        await committer.submit(command(faulty))
    assert await types(connection) == []


async def test_a_key_is_for_the_whole_of_a_large_file(committer: Committer, connection: Any) -> None:
    """A retry with the same key gets the first answer though the catalog has changed; another file under it appends nothing."""
    key = IdempotencyKey("operator", "k", b"one")
    said = msgspec.structs.replace(command(large()), key=key)
    first = await committer.submit(said)
    await committer.submit(command(file(tool("t1", name="Renamed"))))
    head = await connection.fetchval("select position from log.head")
    assert await committer.submit(said) == first
    other = msgspec.structs.replace(command(large(300)), key=IdempotencyKey("operator", "k", b"two"))
    with pytest.raises(KeyReused):
        await committer.submit(other)
    assert await connection.fetchval("select position from log.head") == head


class Overtaken(ImportCatalog, frozen=True):
    """An import in whose decision something else is committed, as often as there are `others`."""

    others: list[Callable[[], object]]

    def decide(self, seen: Seen) -> Decision[int]:
        if self.others:
            self.others.pop()()
        return super().decide(seen)


async def overtaken(dsn: str, committer: Committer, times: int, *others: ImportCatalog) -> Receipt[int]:
    """Import a large file, its key that of the others, while another process commits one of these imports in each decision."""
    loop = asyncio.get_running_loop()
    async with Committer(dsn, REGISTRY) as another:

        async def commit(other: ImportCatalog) -> None:
            await another.submit(other)

        said = command(large(tagline="ours"))
        due = [lambda other=other: asyncio.run_coroutine_threadsafe(commit(other), loop).result(10) for other in others]
        mine = Overtaken(said.file, said.faults, said.new_ids, said.operator, due, key=others[0].key)
        receipt = await committer.submit(mine)
    assert len(due) == len(others) - times
    return receipt


@pytest.mark.parametrize("times", [1, TRIES])
@pytest.mark.parametrize("slug", ["t3", "t4"])
async def test_a_tool_that_changes_during_a_large_import_is_looked_at_again(
    dsn: str, committer: Committer, connection: Any, times: int, slug: str
) -> None:
    """A tool that another process describes (t3) or adds (t4) after each decision is there once, and as the file says."""
    await import_tools(committer, "t3")
    await overtaken(dsn, committer, times, *(command(file(tool(slug, tagline=f"theirs {n}"))) for n in range(times)))
    rows = await connection.fetch(
        "select e.type, e.data->>'tagline' as said from log.events e join log.events a using (stream)"
        " where a.data->>'slug' = $1 and e.data ? 'tagline' order by e.position",
        slug,
    )
    expected = [f"theirs {n}" for n in reversed(range(times))] + ["ours"]
    assert [row["said"] for row in rows] == (["t", *expected] if slug == "t3" else expected)
    assert [row["type"] for row in rows] == ["ToolAdded", *["ToolDescribed"] * (len(rows) - 1)]


async def test_a_key_that_is_used_during_a_large_import_is_used_once(dsn: str, committer: Committer, connection: Any) -> None:
    """Of two requests under one key at once, one is carried out, and both get its answer."""
    other = msgspec.structs.replace(command(file(tool())), key=IdempotencyKey("operator", "k", b"one"))
    receipt = await overtaken(dsn, committer, 1, other)
    assert receipt.value == await connection.fetchval("select count(*) from log.events") == 1


async def until(connection: Any, sql: str) -> None:
    """Wait until a statement about the sessions that append returns true."""
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(f"select {sql} from pg_stat_activity where {APPENDING}"):  # noqa: S608
            await asyncio.sleep(0.02)


APPENDING = "application_name = 'ballotpress-log' and datname = current_database()"


@BOTH_WAYS
async def test_a_large_import_that_is_killed_leaves_nothing(dsn: str, connection: Any, tmp_path: Path) -> None:
    """SIGKILL when half of the events are in the log's table leaves none of them; the same command then imports all."""
    path = tmp_path / "catalog.json"
    path.write_bytes(msgspec.json.encode(large()))
    blocker = await asyncpg.connect(dsn)
    try:
        await blocker.execute("begin")
        await blocker.execute(
            "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
            " values (gen_random_uuid(), 300, now(), 1, 1, 'VoteCast', '{}')"
        )
        killed = await begin_import(dsn, path)
        await until(connection, "count(*) filter (where wait_event_type = 'Lock' and query ~ 'large_batch') = 1")
        killed.kill()
        await killed.wait()
    finally:
        await blocker.close()
    await until(connection, "count(*) filter (where state <> 'idle') = 0")
    assert await types(connection) == []
    assert await connection.fetchval("select position from log.head") == 0
    again = await begin_import(dsn, path)
    assert await again.wait() == 0
    assert len(await types(connection)) == events_of(large())


async def begin_import(dsn: str, path: Path) -> asyncio.subprocess.Process:
    """Start the command in a process of its own."""
    return await asyncio.create_subprocess_exec(
        COMMAND, "catalog", "import", path, env=environ(dsn, "redis://nobody.invalid"), stdout=asyncio.subprocess.DEVNULL
    )


async def test_raced_imports_add_a_tool_once(dsn: str, connection: Any) -> None:
    """The same file imported by two processes at once, many times, adds each tool once."""
    async with Committer(dsn, REGISTRY) as one, Committer(dsn, REGISTRY) as two:
        receipts = await asyncio.gather(*(c.submit(command(SMALL)) for _ in range(5) for c in (one, two)))
    assert sorted(receipt.appended for receipt in receipts) == [0] * 9 + [5]
    assert await connection.fetchval("select count(*) from log.events") == 5


async def test_a_stale_process_sees_what_another_imported(dsn: str, committer: Committer) -> None:
    """A process that last read the catalog before another's import still finds its tools."""
    await import_tools(committer, "alpha")
    async with Committer(dsn, REGISTRY) as other:
        await import_tools(other, "beta")
    assert (await committer.submit(command(file(comparisons=(("alpha", "beta"),))))).appended == 1


async def test_a_faulty_file_leaves_nothing_behind(committer: Committer, connection: Any) -> None:
    """One fault refuses the whole file, and the refusal lists all faults."""
    said = file(tool(name="NUL \0"), tool("beta"), comparisons=(("alpha", "gamma"),))
    with pytest.raises(CatalogInvalid) as caught:
        await committer.submit(command(said))
    assert [pointer for pointer, _ in caught.value.faults] == ["/tools/0/name", "/comparisons/0/right"]
    assert await types(connection) == []


async def test_an_unlisted_tool_takes_no_votes_until_it_is_listed(committer: Committer) -> None:
    """The next vote sees that a tool was unlisted or listed again."""
    await import_tools(committer, "alpha")
    await committer.submit(command(file(tool(listed=False))))
    with pytest.raises(ToolNotListed):
        await committer.submit(CastVote(new_id(), "alpha", "ship"))
    await committer.submit(command(file(tool(listed=True))))
    assert (await committer.submit(CastVote(new_id(), "alpha", "ship"))).appended == 1


async def test_the_demo_catalog_is_imported(dsn: str, tmp_path: Path, connection: Any) -> None:
    """The catalog that comes with the program is sound, and a second import appends nothing."""
    appended = await import_catalog(settings(dsn, "redis://nobody.invalid"), DEMO)
    assert appended == await connection.fetchval("select count(*) from log.events") > 0
    assert await import_catalog(settings(dsn, "redis://nobody.invalid"), DEMO) == 0


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"tools": [{"slug": "x"}]}', "at /tools/0/name: Object missing"),
        (b'{"tools": [', "catalog.json isn't valid JSON: Input data was truncated"),
        (b'{"comparisons": 1.5, "tools": ' + b"[" * 100_000, "catalog.json isn't valid JSON: it is nested too deeply"),
        (b'{"tools": [{"slug": "\xff"}]}', "at /tools/0/slug: not valid Unicode"),
        (b'{"tools": [], "extra": 1}', "at /extra: "),
        (
            json.dumps({"tools": [], "comparisons": [{"left": "a", "right": "b"}]}).encode(),
            "at /comparisons/0/left: There is no",
        ),
        (msgspec.json.encode({"tools": [tool()] * 3}), "at /tools/1/slug: .*; at /tools/2/slug: [^;]*$"),
        (msgspec.json.encode({"tools": [tool()] * 23}), "; at /tools/20/slug: [^;]*; and 2 more$"),
    ],
)
async def test_a_refused_file_is_reported_in_one_line(dsn: str, tmp_path: Path, raw: bytes, said: str) -> None:
    """The failure names the file, the place in it, and the fault."""
    path = tmp_path / "catalog.json"
    path.write_bytes(raw)
    with pytest.raises(ClickException, match=said) as caught:
        await import_catalog(settings(dsn, "redis://nobody.invalid"), path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


async def test_a_missing_file_is_reported_in_one_line(dsn: str, tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(ClickException, match=r"gone\.json can't be read: No such file"):
        await import_catalog(settings(dsn, "redis://nobody.invalid"), tmp_path / "gone.json")
