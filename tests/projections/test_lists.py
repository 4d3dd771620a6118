"""The site's lists: in the orders that callers rely on, each page read from an index, however many tools there are."""

import random
from collections.abc import AsyncIterator, Sequence
from math import floor

import asyncpg
import pytest

from events.log.committer import Committer
from events.registry import REGISTRY
from projections import tools, verdicts
from projections.cards import CHANGES
from projections.engine.projection import only_one
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS, named
from projections.settled import lower_bound, settled, settled_interval
from projections.tally import community, place, ranks, wilson
from projections.tools import Place, Sort
from services.integrity.effect import places_of
from tests.support import servers
from tests.support.histories import SLUGS, VOTERS, History, add_three_tools
from tests.support.plans import touched
from tests.support.runners import Connection, catch_up_all

TOOLS = 20_000
PAGE = 20
ENOUGH = 8 * PAGE
"""Rows that the read of a page may touch: each of its own a few times."""

FILL = named("""
insert into {cards}.places
select 't' || n, 's' || n, 'Tool ' || n % 500, 'Category ' || n % 10, n % 7 > 0, -(n % 101), -(n % 4)
from generate_series(1, $1::integer) n
""")
FILL_TALLIES = named("""
insert into {cards}.tallies
select 't' || n, n % 13, n % 11, n, 's' || n, 'Category ' || n % 10, n % 7 > 0 from generate_series(1, $1::integer) n
""")
FILL_PANEL = named("""
insert into {cards}.panel
select 't' || n, 'Builder', 1, 'ship', '', n, n, 'Category ' || n % 10, n % 7 > 0 from generate_series(1, $1::integer) n
""")
FILL_TRENDS = named("""
insert into {hours}.trends
select 't' || n, 's' || n, 'Category ' || n % 10, n % 7 > 0, n % 9 - 4 from generate_series(1, $1::integer) n
""")
FILL_PAIRS = named("""
insert into {cards}.pairs
select 't' || case n % 2 when 0 then 1 else n end, 't' || case n % 2 when 0 then n else 2 end, n
from generate_series(3, $1::integer) n
""")
BEGIN = named("""
insert into {hours}.trends_begin (hour, last_hour)
select hour - interval '7 days', hour from date_trunc('hour', now(), 'UTC') as hour
""")
LET_HOURS_PASS = named("""
with moved as (
    update {hours}.trends t set last_hour = b.hour from {hours}.trends_begin b where t.slug = $1
    returning t.tool, t.last_ship, b.last_hour - interval '8 days' as hour
)
insert into {hours}.days (tool, day, ship, skip, first_position, hours)
select tool, (hour at time zone 'UTC')::date, last_ship, 0, 1,
       array[array[date_part('hour', hour at time zone 'UTC')::integer, last_ship, 0, 0, 0]]
from moved
""")
LET_BEGIN_PASS = named("update {hours}.trends_begin set hour = hour - interval '8 days'")
FILL_VERDICTS = named("""
insert into {verdicts}.verdicts
select 't' || n, case n % 3 when 0 then 'panel' when 1 then 'settled' else 'community' end, n, now(), null, 'ship',
       'Category ' || n % 10, n % 7 > 0
from generate_series(1, $1::integer) n
""")
FILL_TOOLS = named("""
insert into {cards}.tools
    (tool, slug, name, tagline, description, category, pricing_tier, pricing_label, best_for, listed, position)
select t.tool, t.slug, t.name, '', '', t.category, 'free', '', '', t.listed, row_number() over ()
from {cards}.places t limit $1::integer
""")
TABLES = (
    "{cards}.tools",
    "{cards}.places",
    "{cards}.tallies",
    "{cards}.panel",
    "{cards}.pairs",
    "{cards}.tools",
    "{hours}.trends",
    "{hours}.days",
    "{verdicts}.verdicts",
)


@pytest.fixture(scope="module")
def many_tools(postgres: servers.Postgres, template: str) -> str:
    """Name a database with views of many tools, of which PostgreSQL has statistics."""

    async def fill(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        for statement in (FILL, FILL_TALLIES, FILL_PANEL, FILL_TRENDS, FILL_PAIRS, FILL_VERDICTS, FILL_TOOLS):
            await connection.execute(statement, TOOLS)
        await connection.execute(BEGIN)
        for table in TABLES:
            await connection.execute(f"vacuum analyze {named(table)}")
        await connection.close()

    return servers.filled(postgres, "many_in_lists", template, fill)


@pytest.fixture
async def many(postgres: servers.Postgres, many_tools: str) -> AsyncIterator[Connection]:
    """A connection to those views, in a database of the test's own."""
    async with servers.database(postgres, many_tools) as dsn:
        connection = await asyncpg.connect(dsn)
        yield connection
        await connection.close()


INDEXES = "select indexdef from pg_indexes where schemaname = $1 order by 1"


async def test_a_rebuilt_view_has_the_indexes_of_a_new_one(dsn: str, connection: Connection) -> None:
    """The lists' indexes, which a rebuild makes at its end, are there when it switches: also after one that was cut short."""
    for projection in PROJECTIONS:
        before = await connection.fetch(INDEXES, projection.schema)
        async with only_one(dsn, projection):
            cut_short = Rebuild(dsn, projection, REGISTRY)
            await cut_short.prepare()
            rebuild = Rebuild(dsn, projection, REGISTRY)
            assert await rebuild.prepare()
            await rebuild.catch_up()
            await rebuild.switch(keep_previous=False)
        assert await connection.fetch(INDEXES, projection.schema) == before


@pytest.mark.parametrize("category", [None, "Category 3", "none"])
@pytest.mark.parametrize("sort", [*tools.ORDERS])
async def test_a_page_reads_as_many_rows_as_it_shows(many: Connection, sort: Sort, category: str | None) -> None:
    """In every order, with and without a category, the first page and a deep one touch a few rows, of many thousands."""
    deep = await _place(many, sort, TOOLS // 2)
    for after in (None, deep):
        statement, arguments = tools.ORDERS[sort].page(category, after, PAGE)
        assert await touched(many, statement, *arguments) <= ENOUGH, after


async def _place(connection: Connection, sort: Sort, n: int) -> Place:
    """Give the place of the n-th tool."""
    statement, arguments = tools.ORDERS[sort].page(None, None, n)
    return Place(**(await connection.fetch(statement, *arguments))[-1])


async def test_lists_of_verdicts_and_pairs_read_as_many_rows_as_they_show(many: Connection) -> None:
    """A persona's verdicts, announced pairs, a tool's own, and what changed since a moment ago: a few rows, of many."""
    half = TOOLS // 2
    reads: Sequence[tuple[str, tuple[object, ...]]] = [
        (tools.VERDICTS, ("builder", None, PAGE)),
        (tools.VERDICTS, ("builder", half, PAGE)),
        (tools.VERDICTS_IN, ("builder", half, PAGE, "Category 3")),
        (tools.VERDICTS_IN, ("builder", None, PAGE, "none")),
        (tools.PERSONA, ("builder",)),
        (tools.PAIRS, (None, PAGE)),
        (tools.PAIRS, (half, PAGE)),
        (tools.PAIRS_OF, ("t1", PAGE)),
        (tools.PAIRS_OF, ("t2", PAGE)),
    ]
    for statement, arguments in reads:
        assert await touched(many, statement, *arguments) <= ENOUGH, (statement, arguments)
    generation = await many.fetchval(named("update {cards}.checkpoint set position = $1 returning generation"), TOOLS)
    assert await touched(many, CHANGES, TOOLS - PAGE, generation, 5_000, 0, None, None) <= ENOUGH
    assert await touched(many, CHANGES, 0, "another rebuild", 5_000, 0, None, None) <= ENOUGH


async def test_the_database_places_tallies_as_the_rules_rank_them(connection: Connection) -> None:
    """By the lower Wilson bound, then by slug, tools without votes last: in SQL as in Python, to the last bit."""
    chance = random.Random(7)
    drawn = {(chance.randrange(10**6), chance.randrange(10**6)) for _ in range(500)}
    tallies = drawn | {(ship, skip) for ship in range(12) for skip in range(12)}
    by_slug = {f"{n:04}": tally for n, tally in enumerate(sorted(tallies, key=lambda _: chance.random()))}
    rows = await connection.fetch(
        "select t.slug, log.community_place(t.ship, t.skip) as place"
        " from unnest($1::text[], $2::bigint[], $3::bigint[]) as t(slug, ship, skip) order by 2, t.slug collate \"C\"",
        [*by_slug], [ship for ship, _ in by_slug.values()], [skip for _, skip in by_slug.values()],
    )  # fmt: skip
    ranked = ranks(by_slug)
    assert [row["slug"] for row in rows] == sorted(ranked, key=lambda slug: ranked[slug])
    for row in rows:
        ship, skip = by_slug[row["slug"]]
        bound = -wilson(ship, ship + skip)[0] / 100 if ship + skip else 1
        assert row["place"] == pytest.approx(bound, abs=1e-12)


async def test_a_count_below_zero_is_placed_as_no_votes_are(connection: Connection) -> None:
    """What was let pass can leave one. It halts no view, no scan and no ranking: in SQL as in Python, whatever the counts."""
    tallies = [(ship, skip) for ship in range(-4, 5) for skip in range(-4, 5)]
    await connection.execute("create temporary table tallies (ship bigint, skip bigint)")
    await connection.execute("create index on tallies (log.community_place(ship, skip), log.settled_place(ship, skip))")
    await connection.executemany("insert into tallies values ($1, $2)", tallies)
    rows = await connection.fetch("select ship, skip, log.community_place(ship, skip) as place from tallies")
    places = {(row["ship"], row["skip"]): row["place"] for row in rows}
    assert {tally: place(tally) for tally in tallies} == places
    assert all(places[tally] == 1 for tally in tallies if min(tally) < 0)
    assert ranks({f"{n:02}": tally for n, tally in enumerate(tallies)}).keys() == {f"{n:02}" for n in range(len(tallies))}
    assert len(places_of(tallies)) == len(tallies)


async def test_the_newest_verdicts_read_as_many_rows_as_they_show(many: Connection) -> None:
    """Of all tools, of one category, of none: a few rows, of many."""
    for statement, arguments in (
        (verdicts.NEWEST, (PAGE,)),
        *((verdicts.NEWEST_IN, (PAGE, c)) for c in ("Category 3", "none")),
    ):
        assert await touched(many, statement, *arguments) <= ENOUGH, (statement, arguments)


CALLED = """
select t.ship, t.skip, log.community_verdict(t.ship, t.skip) as community, log.settled_verdict(t.ship, t.skip) as settled
from unnest($1::bigint[], $2::bigint[]) as t(ship, skip)
"""


async def test_the_database_calls_verdicts_as_the_rules_do(connection: Connection) -> None:
    """From counts below zero to ten million: the verdict of a single look, and the settled one."""
    chance = random.Random(9)
    drawn = {(round(10 ** (7 * chance.random())), round(10 ** (7 * chance.random()))) for _ in range(2_000)}
    near = {(n + round(chance.gauss(0, 3) * n**0.5), n) for n in range(60, 10**5, 97)}
    tallies = drawn | near | {(ship, skip) for ship in range(-2, 160) for skip in range(-2, 160)}
    for row in await connection.fetch(CALLED, [ship for ship, _ in tallies], [skip for _, skip in tallies]):
        told = community(row["ship"], row["skip"])
        assert (row["community"], row["settled"]) == (told.verdict, told.settled), (row["ship"], row["skip"])


SETTLED = """
select t.ship, t.skip, log.settled_place(t.ship, t.skip) as place, log.settled_place(t.skip, t.ship) as turned
from unnest($1::bigint[], $2::bigint[]) as t(ship, skip)
"""


async def test_the_database_settles_as_the_rules_do(connection: Connection) -> None:
    """From one vote to ten million on a side: the same rounded interval and verdict, and the same place to twelve digits."""
    chance = random.Random(8)
    drawn = {(round(10 ** (7 * chance.random())), round(10 ** (7 * chance.random()))) for _ in range(1_000)}
    near = {(n + round(chance.gauss(0, 3) * n**0.5), n) for n in range(60, 10**5, 211)}
    tallies = drawn | near | {(ship, skip) for ship in range(20) for skip in range(20) if ship + skip}
    for row in await connection.fetch(SETTLED, [ship for ship, _ in tallies], [skip for _, skip in tallies]):
        ship, skip, low, high = row["ship"], row["skip"], -row["place"], 1 + row["turned"]
        assert low == pytest.approx(lower_bound(ship, skip), abs=1e-12)
        rounded = floor(1000 * low) / 10, (1000 - floor(-1000 * row["turned"])) / 10
        assert rounded == settled_interval(ship, skip), (ship, skip)
        word = "ship" if low > 0.5 else "skip" if high < 0.5 else "mixed" if low >= 0.4 and high <= 0.6 else None
        assert word == settled(ship, skip), (ship, skip)
    assert await connection.fetchval("select log.settled_place(0, 0)") == 1
    assert await connection.fetchval("select log.settled_place(-1, 3)") == 1  # what was passed over must not halt a view


async def test_votes_leave_the_trend_after_seven_days_though_nothing_happens(
    dsn: str, committer: Committer, connection: Connection
) -> None:
    """The trend is that of the last 7 whole days by the clock: it needs no event to let old votes go."""
    await add_three_tools(committer)
    history = History(committer)
    await history.do([("vote", voter, 0, "ship") for voter in VOTERS] + [("vote", VOTERS[0], 1, "ship")])
    await catch_up_all(dsn)
    assert await _trending(dsn) == [SLUGS[0], SLUGS[1], SLUGS[2]]
    # That the clock goes on is to the views as if it had been behind: the second tool's vote is one of today.
    await connection.execute(LET_HOURS_PASS, SLUGS[0])
    await connection.execute(LET_BEGIN_PASS)
    assert await _trending(dsn) == [SLUGS[1], *sorted([SLUGS[0], SLUGS[2]])]


async def _trending(dsn: str) -> list[str]:
    """Give the slugs by trend, a page of one after the other."""
    found: list[Place] = []
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        while page := await tools.tools(pool, "trending", None, found[-1] if found else None, 1):
            found += page
    return [row.slug for row in found]
