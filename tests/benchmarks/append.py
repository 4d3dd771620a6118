"""How fast votes are appended: through the log's public API, against bare inserts by pgbench into an equal table."""

import asyncio
import itertools
from collections.abc import Callable
from time import monotonic

import asyncpg
import uvloop

from events.commands.ballots import CastVote
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import committer, durable_postgres, new_database, new_id, pgbench
from tests.support import servers

# The same columns, indexes and width; every id rises, which suits the index best.
EQUAL_TABLE = """
create table bare (like log.events including all);
create sequence bare_position;
"""
BARE_INSERT = """
insert into bare (stream, position, recorded_at, version, schema_version, type, data, meta)
values (uuidv7(), nextval('bare_position'), clock_timestamp(), 1, 1, 'VoteCast',
'{"tool": "AZq8b1cDSGuWmzb3xYkP0A", "voter": "AZq8b1cDSGuWmzb3xYkP0B", "choice": "ship", "previous": null}', null);
"""

SIZE = """
select sum(pg_total_relation_size(relid))::float8 / (select count(*) from log.events) from pg_partition_tree('log.events')
"""


async def vote_rate(dsn: str, callers: int, seconds: float, tools: int = 1000) -> float:
    """Let so many callers vote one after another, each vote a new voter's; give durable votes a second."""
    voters = (new_id() for _ in itertools.count())
    fresh = [next(voters) for _ in range(int(150_000 * seconds))]
    numbers = iter(range(len(fresh)))
    done = 0
    async with committer(dsn) as running:
        await running.submit(CastVote(new_id(), "tool-0", "ship"))
        end = monotonic() + seconds

        async def caller() -> None:
            nonlocal done
            while monotonic() < end:
                n = next(numbers)
                await running.submit(CastVote(fresh[n], f"tool-{n * 7 % tools}", "skip" if n % 3 else "ship"))
                done += 1

        began = monotonic()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return done / (monotonic() - began)


def voting(dsn: str, callers: int, seconds: float, tools: int = 1000) -> Callable[[], float]:
    """Give a function that measures the rate of votes."""
    return lambda: uvloop.run(vote_rate(dsn, callers, seconds, tools))


async def bytes_per_vote(dsn: str) -> float:
    """Divide the log's size, indexes included, by its events, after many votes."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("vacuum (freeze) log.events")
    size: float = await connection.fetchval(SIZE)
    await connection.close()
    return size


async def fill(dsn: str, events: int) -> None:
    """Put so many votes into the log, shaped as the committer writes them, faster than it could."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("select log.make_room(h.position + $1) from log.head h", events)
    for start in range(0, events, 500_000):
        await connection.execute(FILL, start, min(events, start + 500_000))
    await connection.execute(
        "update log.head set position = (select max(position) from log.events), recorded_at = clock_timestamp()"
    )
    await connection.execute("vacuum (analyze) log.events")
    await connection.close()


# One voter a millisecond over the past, each with one vote, so that streams rise with time as real ones do.
FILL = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select (encode(v.id, 'hex'))::uuid, h.position + n - $1, h.recorded_at, 1, 1, 'VoteCast',
       jsonb_build_object('voter', translate(rtrim(encode(v.id, 'base64'), '='), '+/', '-_'), 'tool', t.tools[1 + n % 1000],
                          'choice', case when n % 3 = 0 then 'ship' else 'skip' end, 'previous', null),
       null
from generate_series($1::bigint + 1, $2::bigint) n
cross join (select max(position) as position, max(recorded_at) as recorded_at from log.events) h
cross join (select array_agg(tool order by slug) as tools from (
    select data->>'tool' as tool, data->>'slug' as slug from log.events where type = 'ToolAdded') x) t
cross join lateral (
    select substring(int8send((1600000000000 + n) << 16) for 6) || '\\x7000'::bytea
           || substring(decode(md5(n::text), 'hex') for 8) as id
) v
"""


def measure(seconds: float = 4, runs: int = 5, large: int = 5_000_000) -> list[Row]:
    """Measure every row about appending."""
    rows = []
    with durable_postgres() as server:
        dsn = asyncio.run(new_database(server, "votes"))
        asyncio.run(_execute(dsn, EQUAL_TABLE))
        bare = _bare(server, seconds)
        for callers, goal in ((64, 1.3), (256, 1.6)):
            ratio, detail = pairs(voting(dsn, callers, seconds), bare, runs)
            rows.append(Row(f"votes appended, {callers} callers, against bare pgbench inserts", goal, ratio, detail))
        ratio, detail = pairs(voting(dsn, 64, seconds, tools=1), voting(dsn, 64, seconds), runs)
        rows.append(Row("all votes on one tool, against 1,000 tools", 0.9, ratio, detail))
        size = asyncio.run(bytes_per_vote(dsn))
        rows.append(Row("bytes a vote in the log, indexes included", 260, size, "after a vacuum", "bytes", at_least=False))
        full = asyncio.run(new_database(server, "large"))
        asyncio.run(fill(full, large))
        empty = asyncio.run(new_database(server, "small"))
        ratio, detail = pairs(voting(full, 64, seconds), voting(empty, 64, seconds), runs)
        rows.append(Row(f"append rate with {large:,} events in the log, against an empty one", 0.8, ratio, detail))
    return rows


def _bare(server: servers.Postgres, seconds: float) -> Callable[[], float]:
    return lambda: pgbench(server, "votes", BARE_INSERT, seconds)


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()
