"""What an import of a catalog promises: whole or not at all, once, however it is raced."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click import ClickException

from events.catalog import ToolNotListed
from events.catalog_file import AT_ONCE, CatalogFile, CatalogInvalid, Pair
from events.commands.ballots import CastVote
from events.commands.catalog import ImportCatalog, import_whole
from events.log.command import IdempotencyKey
from events.log.committer import Committer
from events.log.transaction import KeyReused
from events.registry import REGISTRY
from services.cli.catalog import import_catalog
from services.cli.up import DEMO
from tests.support.catalogs import file, import_tools, new_id, opinion, tool
from tests.support.settings import settings


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


class Killed(Exception):
    """The process goes no further."""


def large(tools: int = 400, personas: int = 3) -> CatalogFile:
    """A file of several parts, with a tool that is more than one by itself."""
    some = [opinion(f"Persona {n}") for n in range(personas)]
    many = [opinion(f"Persona {n}") for n in range(2 * AT_ONCE)]
    said = [tool(f"t{n}", panel=some) for n in range(tools)]
    pairs = [(f"t{n}", "judged") for n in range(tools)]
    return file(*said, tool("judged", panel=many), comparisons=pairs)


async def test_a_large_file_is_imported_in_parts_that_votes_do_not_wait_for(committer: Committer, connection: Any) -> None:
    """No batch of a file of any size is large; all of it is appended, and the second time nothing."""
    said = large()
    events = len(said.tools) + sum(len(tool.panel) for tool in said.tools) + len(said.comparisons)
    assert await import_whole(committer.submit, command(said)) == events
    largest = "select max(n) from (select count(*) as n from log.events group by recorded_at) batch"
    assert await connection.fetchval(largest) <= AT_ONCE
    assert await import_whole(committer.submit, command(said)) == 0


async def test_a_large_file_with_a_fault_in_its_end_appends_nothing(committer: Committer, connection: Any) -> None:
    """A file is checked whole before its first part: a pair of an unknown tool at its end keeps all of it out."""
    said = large(tools=200)
    faulty = CatalogFile(tools=said.tools, comparisons=[*said.comparisons, Pair(left="t1", right="nobody")])
    with pytest.raises(CatalogInvalid, match="nobody"):
        await import_whole(committer.submit, command(faulty))
    assert await types(connection) == []


async def test_a_large_import_that_was_cut_short_goes_on(committer: Committer, connection: Any) -> None:
    """What came before a kill stays, and the same file again appends the rest: together as much as in one go."""
    said, done = large(tools=200), 0

    async def submit(part: Any) -> Any:
        nonlocal done
        done += 1
        if done == 3:
            raise Killed
        return await committer.submit(part)

    with pytest.raises(Killed):
        await import_whole(submit, command(said))
    before = await connection.fetchval("select count(*) from log.events")
    rest = await import_whole(committer.submit, command(said))
    assert before > 0 and before + rest == len(said.tools) + sum(len(t.panel) for t in said.tools) + len(said.comparisons)


async def test_a_key_is_for_the_whole_of_a_large_file(committer: Committer, connection: Any) -> None:
    """A retry with the same key gets the first answer though the catalog has changed; another file under it appends nothing."""
    key = IdempotencyKey("operator", "k", b"one")
    said = msgspec.structs.replace(command(large(tools=200)), key=key)
    first = await import_whole(committer.submit, said)
    await committer.submit(command(file(tool("t1", name="Renamed"))))
    head = await connection.fetchval("select position from log.head")
    assert await import_whole(committer.submit, said) == first
    other = msgspec.structs.replace(command(large(tools=300)), key=IdempotencyKey("operator", "k", b"two"))
    with pytest.raises(KeyReused):
        await import_whole(committer.submit, other)
    assert await connection.fetchval("select position from log.head") == head


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
        (msgspec.json.encode({"tools": [tool(), tool(), tool()]}), "at /tools/1/slug: .* \\(and 1 more\\)"),
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
