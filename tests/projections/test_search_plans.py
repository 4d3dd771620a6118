"""What search and the leaderboard read at many tools: rows by indexes, and never more of them than is promised."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from projections import leaders, related, search, tools
from projections.registry import named
from projections.search import FEW, LOOKED_THROUGH, MOST_LOOKED_THROUGH, SLIPS, SORTED, TOGETHER, WORDS
from tests.support import servers
from tests.support.plans import nodes, touched
from tests.support.runners import Connection

TOOLS = 20_000
PAGE = 20
END = "\U0010ffff"
FIRST = (float("-inf"), "")
NAME, BEGINNING, TERMS = SORTED

# Every tool has "all" in its text, every third "third", and one word of its own in its name.
FILL = named("""
insert into {search}.documents
select 't' || n, log.search_key('own' || n),
       log.search_terms('own' || n, case n % 3 when 0 then 'third' else '' end, 'Category', 'all of them'), n % 7 > 0
from generate_series(1, $1::integer) n
""")
COUNT = named("""
insert into {search}.words
select substr(t.term, 2), count(*) filter (where t.term like '1%'), count(*) filter (where t.term like '2%'),
       count(*) filter (where t.term like '3%')
from {search}.documents d cross join lateral unnest(tsvector_to_array(d.terms)) as t(term)
where d.listed and $1 > 0
group by 1
""")
FILL_TALLIES = named("""
insert into {cards}.tallies
select 't' || n, n % 13, n % 11, n, 's' || n, 'Category ' || n % 10, n % 7 > 0 from generate_series(1, $1::integer) n
""")
FILL_PLACES = named("""
insert into {cards}.places
select 't' || n, 's' || n, 'Own' || n, 'Category ' || n % 10, n % 7 > 0, 0, 0 from generate_series(1, $1::integer) n
""")
FILL_TRENDS = named("""
insert into {hours}.trends
select 't' || n, 's' || n, 'Category ' || n % 10, n % 7 > 0, n % 9 - 4, n % 5, n % 3 from generate_series(1, $1::integer) n
""")
FILL_STANDINGS = named("""
insert into {verdicts}.standings
select 't' || n, 'Category', n % 7 > 0, n, 0, 0, 0, 0, null, null, null, n, now() from generate_series(1, $1::integer) n
""")
# Votes on each tool on five days of this week; and of 500 tools those in an hour that was within seven days of the last vote,
# and is not within seven days of now.
FILL_HOURS = named("""
with now as (select date_trunc('hour', now(), 'UTC') as hour),
     begin as (
         insert into {hours}.trends_begin (hour, last_hour)
         select hour - interval '7 days 1 hour', hour - interval '1 hour' from now
     )
insert into {hours}.days (tool, day, ship, skip, first_position, hours)
select 't' || n, (hour at time zone 'UTC')::date - d, 2, 1, n, '{{0, 2, 1, 0, 0}}'
from now, generate_series(1, $1::integer) n, generate_series(1, 5) d
union all
select 't' || 40 * n, (old at time zone 'UTC')::date, 2, 1, n,
       array[array[date_part('hour', old at time zone 'UTC')::integer, 2, 1, 0, 0]]
from (select hour - interval '7 days 1 hour' as old from now) o, generate_series(1, $1::integer / 40) n
""")
TABLES = ("{search}.documents", "{search}.words", "{cards}.tallies", "{cards}.places", "{hours}.trends", "{verdicts}.standings")


@pytest.fixture(scope="module")
def many_tools(postgres: servers.Postgres, template: str) -> str:
    """Name a database with views of many tools, of which PostgreSQL has statistics."""

    async def fill(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        for statement in (FILL, COUNT, FILL_TALLIES, FILL_PLACES, FILL_TRENDS, FILL_STANDINGS):
            await connection.execute(statement, TOOLS)
        for table in TABLES:
            await connection.execute(f"vacuum analyze {named(table)}")
        await connection.close()

    return servers.filled(postgres, "many_to_search", template, fill)


@pytest.fixture
async def many(postgres: servers.Postgres, many_tools: str) -> AsyncIterator[Connection]:
    """A connection to those views, in a database of the test's own."""
    async with servers.database(postgres, many_tools) as dsn:
        connection = await asyncpg.connect(dsn)
        yield connection
        await connection.close()


READS: list[tuple[int, str, Sequence[object]]] = [
    (9, WORDS, ("own777 all third", 8, 2, 32)),
    (300, WORDS, ("own1 all own123", 8, 2, 32)),
    (500, SLIPS, (["owm777", "own77x", "own1234"], 4, 32)),
    (8, SORTED[NAME], (*FIRST, PAGE, 2 * FEW, "own777")),
    (1_000, SORTED[BEGINNING], (*FIRST, PAGE, 2 * FEW, "own77", "own77" + END)),
    (300, LOOKED_THROUGH[BEGINNING], (*FIRST, PAGE, MOST_LOOKED_THROUGH, "own1", "own1" + END)),
    (50, TOGETHER, (-1, 0.0, "", 2 * FEW, 2, "own777", "own777" + END, "'1own777'", "'2own777'", "'3own777'", PAGE)),
    (50, TOGETHER, (-1, 0.0, "", 2 * FEW, 5, "x", "x" + END, "'1own777'", "'2own777'", "'3own777' & !'3own776'", PAGE)),
    (50, SORTED[TERMS], (*FIRST, PAGE, 2 * FEW, "x", "x" + END, "('1own777') & ('3all')")),
    (300, LOOKED_THROUGH[TERMS], (*FIRST, PAGE, MOST_LOOKED_THROUGH, "x", "x" + END, "('3all')")),
    (300, LOOKED_THROUGH[TERMS], (*FIRST, PAGE, MOST_LOOKED_THROUGH, "x", "x" + END, "('2third') & ('3all')")),
    (2 * MOST_LOOKED_THROUGH, LOOKED_THROUGH[TERMS], (*FIRST, PAGE, MOST_LOOKED_THROUGH, "x", "x" + END, "'3nobody'")),
    (5 * leaders.FIRST_BEFORE, leaders.LEADERS, (*FIRST, PAGE, leaders.FIRST_BEFORE)),
    (TOOLS // 4, leaders.LEADERS_IN, (*FIRST, PAGE, leaders.FIRST_BEFORE, "Category 3")),
    (5 * PAGE, leaders.NEWEST, (PAGE,)),
    (8 * PAGE, leaders.MOVED, (PAGE, 1_000)),
    (5 * PAGE, related.NEAR, ("t777", 3)),
]


async def test_each_statement_reads_few_rows_by_indexes(many: Connection) -> None:
    """However common a word is, and whatever is looked for, a statement touches no more rows than this, and no whole table."""
    big = {table.partition(".")[2] for table in TABLES}
    for most, statement, arguments in READS:
        read = await touched(many, statement, *arguments)
        assert read <= most, (read, statement, arguments)
        plan = await executed(many, statement, *arguments)
        assert not big & {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}, statement


async def executed(connection: Connection, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """Return the steps of a statement's plan that gave rows: to learn that there is nothing to join may take the first one."""
    (row,) = await connection.fetch(f"explain (analyze, format json) {statement}", *arguments)
    return [node for node in nodes(json.loads(row[0])[0]["Plan"]) if node["Actual Loops"] * node["Actual Rows"] > 1]


async def test_common_words_find_the_best_of_all(many: Connection) -> None:
    """Where most tools match, the list is that of the community's order, from its first page to a late one."""
    order = named("""
    select y.slug from {cards}.tallies y join {search}.documents d on d.tool = y.tool
    where d.listed and d.terms @@ $1::text::tsquery order by log.community_place(y.ship, y.skip), y.slug
    """)
    for text, terms in (("all", "'3all'"), ("third all", "'3third' & '3all'")):
        right = [row["slug"] for row in await many.fetch(order, terms)]
        found, after = list[str](), None
        for _ in range(3):
            page = await search.search(many, text, after, 50)  # type: ignore[arg-type]
            found, after = found + [one.slug for one in page], page[-1]
        assert found == right[:150]


async def test_an_hour_that_leaves_the_week_costs_a_look_up_of_each_tool(many: Connection) -> None:
    """Between two votes an hour may grow older than seven days: its tools are placed anew, without reading the whole table."""
    await many.execute(FILL_HOURS, TOOLS)
    for table in ("{hours}.days", "{hours}.trends_begin"):
        await many.execute(f"vacuum analyze {named(table)}")
    stale = TOOLS // 40
    by_trend = tools.ORDERS["trending"].page(None, None, PAGE)
    for statement, arguments in ((leaders.LEADERS, (*FIRST, PAGE, leaders.FIRST_BEFORE)), by_trend):
        assert await touched(many, statement, *arguments) <= 11 * stale, statement
        plan = await executed(many, statement, *arguments)
        assert "trends" not in {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}, statement
    await many.execute(named("update {hours}.trends_begin set hour = hour + interval '1 hour'"))
    statement, arguments = by_trend
    assert await touched(many, statement, *arguments) <= 3 * PAGE  # nothing left, so no day is looked through
