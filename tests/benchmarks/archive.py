"""What an archived part costs: bytes in the database and in its file, the time to write and to load it, and votes beside it."""

import asyncio
import os
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, process_time

import asyncpg
import uvloop

from events.log.archive import packing
from events.log.archive.places import Folder
from events.log.archive.present import Present
from events.log.store import READ_LASTS
from services.clock import now
from services.migrate import migrate
from tests.benchmarks.table import Row
from tests.benchmarks.world import durable_postgres
from tests.support import servers
from tests.support.parts import make_small
from tests.support.runners import catch_up_all
from tests.support.year import fill_year

TOOLS = 5_000
CATALOG = 25_200
"""More positions than the catalog takes, so that a log of so many events more fills its first part."""

# What the archive keeps of ballots, with every index; and what else stays of the part.
KEPT = """
select pg_total_relation_size('log.archived_ballots') + pg_total_relation_size('log.archived_times')
       + pg_total_relation_size('log.archived_tools') as ballots,
       pg_total_relation_size('log.events_0') as others
"""
VOTES = "select count(*) from log.events_0 where type in ('VoteCast', 'VoteRetracted')"
STREAMS = """
select array(select e.stream from log.events_0 e where e.type = 'VoteCast' order by md5(e.position::text) limit 20000)
"""


def measure(events: int | None = None) -> list[Row]:
    """Measure a part of a million events, or `BALLOTPRESS_BENCH_EVENTS`."""
    events = events or int(os.environ.get("BALLOTPRESS_BENCH_EVENTS", "1_000_000"))
    with durable_postgres() as server, tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_archived(server, events, Path(folder)))


async def _archived(server: servers.Postgres, events: int, folder: Path) -> list[Row]:
    await servers.execute(server.dsn(), "create database year")
    dsn = server.dsn("year")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await make_small(connection, events)
    await connection.execute("select log.make_room($1)", events + CATALOG)
    await fill_year(dsn, events, TOOLS)
    await catch_up_all(dsn)
    votes, before = await connection.fetchval(VOTES), await connection.fetchval("select pg_total_relation_size('log.events_0')")
    streams = await connection.fetchval(STREAMS)
    whole = await _look_ups(connection, streams)
    began, cpu = monotonic(), process_time()
    kept = await packing.archive(connection, 0, packing.Filing(Folder(folder), now, lambda _: None), young=True)
    wall, cpu = monotonic() - began, process_time() - cpu
    await connection.execute("vacuum analyze log.archived_ballots")
    sizes = await connection.fetchrow(KEPT)
    packed = await _look_ups(connection, streams)
    loading = monotonic()
    async with Present(dsn) as present, present.reader() as reader:
        await reader.ensure(0, events)
        loading = monotonic() - loading
    await connection.close()
    after = sizes["ballots"] + sizes["others"]
    return [
        Row("bytes kept in PostgreSQL an archived vote", 100, sizes["ballots"] / votes,
            f"{votes:,} ballots of {events:,} events, indexes and times included", "B", at_least=False),
        Row("a part in the database, archived against whole", 0.5, after / before,
            f"{after / events:.0f} against {before / events:.0f} B an event, all other events included", at_least=False),
        Row("a part's file, bytes an event", 100, kept.bytes / events, "Parquet, zstd", "B", at_least=False),
        Row("archiving a million events", 300, wall / events * 1e6,
            f"{cpu / events * 1e6:.0f} s of it this process's CPU: written, read back, packed", "s", at_least=False),
        Row("loading a million events for a rebuild", 120, loading / events * 1e6, "checked by hash", "s", at_least=False),
        Row("last events of 20,000 archived ballots, looked up 64 at a time, against the same before", 0.2, packed / whole,
            f"{packed:,.0f}/s against {whole:,.0f}/s"),
    ]  # fmt: skip


async def _look_ups(connection: "asyncpg.Connection[asyncpg.Record]", streams: list[str]) -> float:
    """Return how many streams' last events are found a second; the median of three rounds."""
    rates = []
    for _ in range(3):
        began = monotonic()
        for start in range(0, len(streams), 64):
            await connection.fetch(READ_LASTS, streams[start : start + 64])
        rates.append(len(streams) / (monotonic() - began))
        await asyncio.sleep(0)
    return median(rates)
