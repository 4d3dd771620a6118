"""`verify.py` recounts what the site's own commands wrote, and comes to what the site's views show."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given

from projections import hours, proof
from projections.registry import named
from services.proof import verify
from tests.support import servers
from tests.support.histories import EXAMPLES, Act, History, add_three_tools, histories, random_histories
from tests.support.log import patient
from tests.support.runners import catch_up_all
from tests.support.servers import database

CARDS = named("""
select t.tool, coalesce(y.ship, 0)::integer as ship, coalesce(y.skip, 0)::integer as skip, t.listed,
       array(select p.verdict from {cards}.panel p where p.tool = t.tool order by lower(p.persona)) as panel
from {cards}.tools t left join {cards}.tallies y on y.tool = t.tool
""")


def write(file: Path, entries: list[bytes]) -> None:
    """Write entries, a line each."""
    file.write_bytes(b"".join(entry + b"\n" for entry in entries))


async def entries_in(dsn: str, acts: list[Act], file: Path) -> list[Any]:
    """Let a history happen, write its public entries to a file, and return what the cards show."""
    async with patient(dsn) as committer:
        await add_three_tools(committer)
        await History(committer).do(acts)
    await catch_up_all(dsn)
    connection = await asyncpg.connect(dsn)
    size = await proof.size(connection)
    write(file, await proof.entries(connection, 0, size))
    shown = await connection.fetch(CARDS)
    for row in shown:  # the two ways in which the site itself keeps a tally agree
        tally = await hours.as_of(connection, row["tool"], None, corrected=True)
        assert (tally.ship, tally.skip) == (row["ship"], row["skip"])
    await connection.close()
    return shown


@pytest.mark.timeout(1200 + 3 * EXAMPLES)
@random_histories
@given(acts=histories)
async def test_the_recount_is_what_the_views_show(
    postgres: servers.Postgres, template: str, tmp_path_factory: pytest.TempPathFactory, acts: list[Act]
) -> None:
    """Any history of the site's own keeps the rules, and its public entries alone come to the cards and the panels."""
    file = tmp_path_factory.mktemp("log") / "log.jsonl"
    async with database(postgres, template) as dsn:
        shown = await entries_in(dsn, acts, file)
    log = verify.Log(file, len(file.read_bytes().splitlines()))
    log.fold((), lambda level, n, hashes: None)
    counted = verify.recount(log)
    assert {id_.decode() for id_ in counted.tools} == {row["tool"] for row in shown}
    for row in shown:
        tool = counted.tools[row["tool"].encode()]
        assert (tool.ship, tool.skip) == (row["ship"], row["skip"])
        assert bool(tool.facts["listed"]) == row["listed"]
        assert sorted(tool.panel.values()) == sorted(row["panel"])


def test_every_kept_entry_has_a_form(tmp_path: Path) -> None:
    """The entry of every type and version that was ever written is one of the forms that `verify.py` takes."""
    kept = (Path(__file__).parents[1] / "golden" / "entries.jsonl").read_text().rstrip("\n").split("\n")
    for entry in (json.loads(line)["entry"].encode() + b"\n" for line in kept):
        form = verify.PUBLIC.fullmatch(entry)
        assert verify.VOTE.fullmatch(entry) or verify.SEALED.fullmatch(entry) or form
        if form:
            assert form[1].decode() in verify.TYPES
            assert verify.read_data(form[3])
