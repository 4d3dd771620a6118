"""What an import of a catalog promises of renames, personas and successors in the log and in the views."""

import asyncio
from typing import Any

import pytest

from events.ballots import VoteCast
from events.catalog import VIEW, ToolDescribed
from events.catalog_file import CatalogFile, CatalogInvalid
from events.commands.ballots import CastVote
from events.commands.catalog import FEW, ImportCatalog
from events.commands.quarantine import DropEvent
from events.log import ids
from events.log.committer import Committer
from events.registry import REGISTRY
from projections.registry import PROJECTIONS, named
from services.clock import now
from tests.oracle.compare import differences
from tests.support.catalogs import file, import_tools, new_id, tool
from tests.support.log import patient, record_at
from tests.support.runners import catch_up_all

ALPHA_RENAMED = file(
    tool("gamma", name="Alpha", former_slugs=["alpha", "old"]),
    personas=({"persona": "Builder", "role": "Developer", "excited_by": ["a", "b"]},),
)
DROPPED = {"ToolAdded": 1, "ToolRenamed": 3, "FormerSlugAdded": 4, "PersonaDescribed": 5}
SHOWN = named("""
select (select slug from {cards}.tools where name = 'Alpha'), (select array_agg(slug order by slug) from {cards}.former_slugs),
       (select excited_by from {cards}.personas where lower = 'builder'), (select sum(ship) from {cards}.tallies),
       (select slug from {hours}.trends t where t.tool = (select tool from {cards}.tools where name = 'Alpha'))
""")


def command(said: CatalogFile) -> ImportCatalog:
    return ImportCatalog.of(said, new_id, "op")


@pytest.mark.parametrize("position", DROPPED.values(), ids=DROPPED)
@pytest.mark.parametrize("sizes", [[1], [20_000]])
async def test_what_the_cards_were_let_pass_is_appended_by_the_next_import(
    committer: Committer, connection: Any, dsn: str, position: int, sizes: list[int]
) -> None:
    """After `quarantine drop` the file brings a rename, a former slug or a persona back, once, and no view halts."""
    await import_tools(committer, "alpha", "beta")
    await committer.submit(command(ALPHA_RENAMED))
    types = [row["type"] for row in await connection.fetch("select type from log.events order by position")]
    assert types[position - 1] == next(type_ for type_, at in DROPPED.items() if at == position)
    await committer.submit(DropEvent([VIEW], position, "it could not be folded", "op"))
    for slug in ("gamma", "alpha", "old"):
        await committer.submit(CastVote(new_id(), slug, "ship"))
    assert (await committer.submit(command(ALPHA_RENAMED))).value > 0
    assert (await committer.submit(command(ALPHA_RENAMED))).value == 0
    await catch_up_all(dsn, sizes)
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
    assert tuple(await connection.fetchrow(SHOWN)) == ("gamma", ["alpha", "old"], ["a", "b"], 3, "gamma")


async def test_what_was_queued_behind_a_rename_sees_it(committer: Committer, dsn: str) -> None:
    """Votes that wait behind an import count by the new slug and by the old one, in this process and in another."""
    await import_tools(committer, "alpha")
    async with patient(dsn) as other:
        await other.submit(CastVote(new_id(), "alpha", "ship"))
        waiting = [committer.submit(command(ALPHA_RENAMED))]
        votes = [committer.submit(CastVote(new_id(), slug, "ship")) for slug in ("gamma", "alpha", "old")]
        await asyncio.gather(*waiting)
        receipts = await asyncio.gather(
            *votes, *(other.submit(CastVote(new_id(), slug, "skip")) for slug in ("gamma", "alpha"))
        )
    assert len({receipt.value.tool for receipt in receipts}) == 1
    assert all(receipt.appended for receipt in receipts)


async def test_a_rename_back_is_seen_by_a_process_that_starts_later(committer: Committer, connection: Any, dsn: str) -> None:
    """A process that reads the log anew knows the present slug: the same file again appends nothing there either."""
    await import_tools(committer, "alpha")
    back = file(tool("alpha", former_slugs=["gamma"]))
    for said in (ALPHA_RENAMED, back, ALPHA_RENAMED, back):
        await committer.submit(command(said))
    async with patient(dsn) as later:
        assert (await later.submit(command(back))).value == 0
        with pytest.raises(CatalogInvalid, match="leads to a tool that has another one now"):
            await later.submit(command(file(tool("gamma"))))
    voted = (await committer.submit(CastVote(new_id(), "gamma", "ship"))).position
    stored = await connection.fetchval("select data->>'tool' from log.events where position = $1", voted)
    assert stored == await connection.fetchval("select data->>'tool' from log.events where position = 1")
    assert VoteCast.__name__ == await connection.fetchval("select type from log.events where position = $1", voted)


@pytest.mark.parametrize("others", [0, FEW + 1])
async def test_a_circle_of_successors_is_found_through_tools_of_the_log(committer: Committer, others: int) -> None:
    """A small file and a large one are refused whose successors lead round through tools that they leave out."""
    await committer.submit(command(file(tool("alpha", successor="beta"), tool("beta", successor="gamma"), tool("gamma"))))
    more = [tool(f"t{n}") for n in range(others)]
    with pytest.raises(CatalogInvalid) as refused:
        await committer.submit(command(file(*more, tool("gamma", successor="alpha"))))
    assert [pointer for pointer, _ in refused.value.faults] == [f"/tools/{others}/successor"]
    await committer.submit(command(file(tool("beta", successor=None))))
    assert (await committer.submit(command(file(*more, tool("gamma", successor="alpha"))))).value == others + 1


async def test_a_circle_that_closes_while_a_large_file_waits_is_found(committer: Committer, connection: Any) -> None:
    """A large file is decided before it has the head's lock: what another import made succeed what meanwhile counts as well."""
    many = [f"t{n}" for n in range(FEW)]
    await import_tools(committer, "alpha", "gamma", *many)
    rows = await connection.fetch(
        "select data->>'slug' as slug, data->>'tool' as tool from log.events where type = 'ToolAdded'"
    )
    tools = {row["slug"]: row["tool"] for row in rows}
    large = command(file(*(tool(slug, tagline="Anew") for slug in many), tool("gamma", successor="alpha")))
    assert large.is_large
    led = ToolDescribed(
        tool=tools["alpha"], name="Alpha", tagline="t", description="d", category="c", pricing_tier="free", pricing_label="l",
        best_for="b", successor=tools["gamma"],
    )  # fmt: skip
    async with connection.transaction():
        await connection.execute("select position from log.head for update")
        waiting = asyncio.ensure_future(committer.submit(large))
        while not await connection.fetchval("select exists (select from pg_locks where not granted)"):
            await asyncio.sleep(0.02)
            assert not waiting.done()
        await record_at(connection, [(now(), ids.stream_of(tools["alpha"]), led)])
    with pytest.raises(CatalogInvalid, match="leads back to this tool"):
        await waiting


async def test_a_successor_that_the_cards_were_let_pass_leads_nowhere(committer: Committer) -> None:
    """What the catalog's view passes over isn't in the catalog, so no circle goes through it."""
    await import_tools(committer, "alpha", "beta")
    described = await committer.submit(command(file(tool("alpha", successor="beta"))))
    assert described.position is not None
    await committer.submit(DropEvent([VIEW], described.position, "it could not be folded", "op"))
    assert (await committer.submit(command(file(tool("beta", successor="alpha"))))).value == 1


async def test_many_tools_are_renamed_at_once(committer: Committer, connection: Any, dsn: str) -> None:
    """A large file of renames is one batch; the views follow, whatever the window."""
    many = FEW // 2 + 1
    await import_tools(committer, *(f"t{n}" for n in range(many)))
    said = file(*(tool(f"n{n}", name=f"T{n}", former_slugs=[f"t{n}"]) for n in range(many)))
    assert command(said).is_large
    assert (await committer.submit(command(said))).value == many
    assert (await committer.submit(command(said))).value == 0
    await catch_up_all(dsn, [97])
    for projection in PROJECTIONS:
        assert await differences(connection, projection, REGISTRY) == []
