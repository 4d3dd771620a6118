"""The table of everything that is kept names all there is: every table of the database, every event, key and file."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis

from events.log.transfer import STAGE
from events.registry import REGISTRY
from projections.registry import PROJECTIONS
from services.person.document import document
from services.person.table import IMPERSONAL, KEPT
from tests.support import servers
from tests.support.http import serving
from tests.support.processes import wait_for
from tests.support.runners import catch_up_all
from tests.support.settings import environ
from tests.support.stem import forked

READ_COLUMNS = """
select n.nspname as schema, c.relname as name, array_agg(a.attname::text order by a.attnum) as columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema')
group by n.nspname, c.relname
"""
ALL = (*KEPT, *IMPERSONAL)
VIEWS = {projection.schema: projection.name for projection in PROJECTIONS}
FOLDER = Path(__file__).parents[2] / "services" / "person"
WRITE = "sed -i '/^<!-- The rest/q' docs/privacy.md && (echo; .venv/bin/ballotpress person kept) >> docs/privacy.md"
ADD = f"add it to the row of its subject in {FOLDER}"


def named(places: str) -> set[str]:
    """Return all places of a kind that the table names."""
    return {place for row in ALL for place in getattr(row, places)}


def known(where: str) -> str:
    """Return a table as the table of what is kept names it: one of a view by the view's name."""
    schema, _, name = where.partition(".")
    if schema not in VIEWS:
        return where
    return "{*}.checkpoint" if name == "checkpoint" else f"{{{VIEWS[schema]}}}.{name}"


@pytest.fixture
async def columns(dsn: str, connection: "asyncpg.Connection[Any]") -> dict[str, set[str]]:
    """Every table after all migrations, with all views and a staged import, and its columns."""
    await catch_up_all(dsn)
    await connection.execute(STAGE)
    rows = await connection.fetch(READ_COLUMNS)
    return {known(f"{row['schema']}.{row['name']}"): set(row["columns"]) for row in rows}


async def test_every_table_of_the_database_is_named(columns: dict[str, set[str]]) -> None:
    """After all migrations no table is missing from the table of what is kept, and none is named that isn't there."""
    assert columns.keys() - named("tables") == set(), ADD
    assert named("tables") - columns.keys() == set()


async def test_a_table_about_people_has_its_columns_named(columns: dict[str, set[str]]) -> None:
    """Outside the views, whatever stands in a table about people is named, so that a new column can't slip in."""
    impersonal = {table for row in IMPERSONAL for table in row.tables}
    for table in {table for row in KEPT for table in row.tables}:
        said = {column for row in KEPT for column in row.tables.get(table, "").split()}
        assert said <= columns[table], table
        if table not in impersonal and not table.startswith("{"):
            assert columns[table] - said == set(), f"{table}: {ADD}"


def test_every_type_of_event_is_named_once() -> None:
    """What is recorded about people is told from what isn't, type by type."""
    said = [type_ for row in ALL for type_ in row.events]
    assert sorted(said) == sorted(set(said))
    assert set(REGISTRY.types) == set(said), ADD


def test_every_row_says_all_there_is_to_say() -> None:
    """Each row about people says how long, why, and by what it is found; and what an erasure leaves, if it leaves anything."""
    for row in KEPT:
        assert all((row.what, row.until, row.found)), row.name
        assert row.events or row.tables or row.keys or row.files, row.name
        assert row.fate != "stays" or row.remains, row.name
    assert len({row.name for row in KEPT}) == len(KEPT)


def strangers(found: Iterable[str], families: Iterable[str]) -> set[str]:
    """Return what belongs to no family."""
    return {one for one in found if not any(fnmatchcase(one, family) for family in families)}


async def test_every_key_in_valkey_is_of_a_family_that_is_named(dsn: str, tmp_path: Path) -> None:
    """A run with a worker, votes, a review, a sign-up and guesses leaves no key that the table doesn't know."""
    with (
        servers.valkey() as (url, _),
        Redis.from_url(url, decode_responses=True) as valkey,
        serving(dsn, url, tmp_path / "log") as site,
        forked("worker", environ=environ(dsn, url, tmp_path), output=tmp_path / "log"),
    ):
        tool, me = site.add_tool(), site.visitor()
        for choice in ("ship", "skip"):
            me.vote(tool, choice)
        me.post(f"/v1/tools/{tool}/reviews", {"verdict": "ship", "body": "It does what it says, and says it well."})
        site.anyone.post("/v1/newsletter/subscriptions", {"email": "ada@example.com"})
        site.anyone.get("/v1/ops/status", headers={"Authorization": "Bearer a-wrong-one"})
        families = {"limit:*", "ballotpress:log:*", "ballotpress:tick", "ballotpress:worker:*"}
        assert wait_for(lambda: all(list(valkey.scan_iter(family)) for family in families)), list(valkey.scan_iter())
        assert strangers(valkey.scan_iter(), named("keys")) == set(), ADD


def test_the_document_says_what_the_table_says() -> None:
    """docs/privacy.md ends with what `ballotpress person kept` prints."""
    written = (FOLDER.parents[1] / "docs" / "privacy.md").read_text()
    assert written.endswith(f" -->\n\n{document()}"), WRITE
