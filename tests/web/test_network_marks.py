"""Network marks: votes of one network and day are alike, nobody else can tell which network it was, and nothing of it stays."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from asyncpg import Connection

from events.log.committer import Committer
from services.integrity.marks import DAYS, Database, Marks, forget_marks, marks_of
from services.migrate import migrate
from services.worker import _forget_marks
from tests.support import servers
from tests.support.catalogs import import_tools
from tests.support.processes import PATIENCE
from tests.support.runners import catch_up_all
from tests.support.settings import settings
from tests.support.sites import client

PROXIES = (ip_network("192.0.2.7/32"),)  # the tests' client
SHIP = {"choice": "ship"}
NOT_UNLOGGED = (
    "select count(*) from pg_class where relpersistence <> 'u' and relkind in ('r', 'i') and relname like 'network\\_%'"
)


@pytest.fixture
async def alpha(dsn: str, committer: Committer) -> str:
    """The only tool of the test's database."""
    await import_tools(committer, "alpha")
    await catch_up_all(dsn)
    return "/v1/tools/alpha/vote"


@pytest.fixture
async def http(dsn: str, valkey_url: str, alpha: str) -> AsyncIterator[httpx.AsyncClient]:
    """A site behind a trusted proxy, which is whom the test speaks to."""
    async with client(settings(dsn, valkey_url, trusted_proxies=PROXIES)) as made:
        yield made


async def voting(http: httpx.AsyncClient, *addresses: str) -> list[int]:
    """Vote as a new visitor from each of these addresses; return the votes' positions."""
    positions = []
    for address in addresses:
        came = {"X-Forwarded-For": address}
        me = came | {"Authorization": f"Bearer {(await http.post('/v1/visitors', headers=came)).json()['token']}"}
        http.cookies.clear()
        positions.append((await http.put("/v1/tools/alpha/vote", json=SHIP, headers=me)).json()["position"])
    return positions


async def marked(connection: "Connection[Any]", positions: list[int]) -> Mapping[int, int]:
    """Wait until all these votes are marked; return their marks."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await marks_of(connection, positions)) < len(positions):
            await asyncio.sleep(0.05)
    return found


async def test_votes_of_one_network_are_alike(http: httpx.AsyncClient, connection: Any) -> None:
    """Two addresses of a /24 or a /64 have one mark; of four networks some differ, though two may share one of 65,536."""
    positions = await voting(http, "198.51.100.1", "198.51.100.254", "2001:db8::1", "2001:db8::2", "203.0.113.1", "192.0.2.99")
    marks = await marked(connection, positions)
    first, second, third, fourth, *others = (marks[position] for position in positions)
    assert first == second
    assert third == fourth
    assert len({first, third, *others}) > 1
    assert len({mark >> 16 for mark in marks.values()}) == 1, "one day"


async def test_processes_share_the_key_of_the_day(http: httpx.AsyncClient, dsn: str, valkey_url: str, connection: Any) -> None:
    """A vote in another process has the mark of the same network's in this one."""
    async with client(settings(dsn, valkey_url, trusted_proxies=PROXIES)) as second:
        positions = [await voting(site, "198.51.100.1", "203.0.113.1") for site in (http, second, http)]
        marks = await marked(connection, [*chain(*positions)])
    assert len({tuple(marks[position] for position in pair) for pair in positions}) == 1


async def test_whoever_is_no_proxy_names_no_network(dsn: str, valkey_url: str, alpha: str, connection: Any) -> None:
    """Without a trusted proxy the caller's own address counts, whatever its headers say."""
    async with client(settings(dsn, valkey_url)) as http:
        marks = await marked(connection, await voting(http, "198.51.100.1", "203.0.113.1", "2001:db8::1"))
    assert len(set(marks.values())) == 1


async def test_only_votes_are_marked(http: httpx.AsyncClient, connection: Any) -> None:
    """A vote taken back leaves no mark of its own."""
    token = (await http.post("/v1/visitors")).json()["token"]
    me = {"Authorization": f"Bearer {token}"}
    cast = (await http.put("/v1/tools/alpha/vote", json=SHIP, headers=me)).json()["position"]
    gone = (await http.delete("/v1/tools/alpha/vote", headers=me)).json()["position"]
    await marked(connection, [cast, *await voting(http, "198.51.100.1")])
    assert await marks_of(connection, [gone]) == {}


async def test_a_site_may_keep_none(dsn: str, valkey_url: str, alpha: str, connection: Any) -> None:
    """With BALLOTPRESS_NETWORK_MARKS=off votes leave nothing, and a worker destroys what was there."""
    async with client(settings(dsn, valkey_url)) as http:
        await marked(connection, await voting(http, "198.51.100.1"))
    async with client(settings(dsn, valkey_url, network_marks=False)) as http:
        positions = await voting(http, "198.51.100.1")
    assert await marks_of(connection, positions) == {}
    assert await _forget_marks({"database_url": dsn, "days": 0}) == 2
    assert await connection.fetchval("select count(*) from integrity.network_marks") == 0
    assert await connection.fetchval("select count(*) from integrity.network_key") == 0


async def test_no_vote_waits_or_fails_for_its_mark(http: httpx.AsyncClient, dsn: str, connection: Any) -> None:
    """While nobody can write marks votes are answered, and those that can't be written later are lost."""
    async with servers.locked(dsn, "lock table integrity.network_key"):
        waited = await voting(http, "198.51.100.1", "198.51.100.2")
    assert await connection.fetchval("select position from log.head") >= waited[-1]
    marks = await marked(connection, await voting(http, "198.51.100.3"))
    assert len(set(marks.values())) == 1


async def test_many_processes_may_begin_a_day_at_once(dsn: str, connection: Any) -> None:
    """All come to one key, none waits in a circle, and a worker that forgets meanwhile is in nobody's way."""
    async with asyncpg.create_pool(dsn, min_size=8, max_size=8) as pool:
        writers = [Marks(pool, are_kept=True) for _ in range(8)]
        for position, writer in enumerate(writers):
            writer.note(position, "198.51.100.0/24")
        await asyncio.gather(*(writer.write() for writer in writers), *(forget_marks(pool) for _ in range(3)))
    marks = await marks_of(connection, range(8))
    assert len(marks) == 8
    assert len(set(marks.values())) == 1


async def fill(connection: Database, days_ago: int, position: int) -> None:
    """Mark a vote of so many days ago."""
    await connection.execute(
        "insert into integrity.network_marks values ($2, (now() at time zone 'UTC')::date - $1::integer, 7)", days_ago, position
    )


async def test_marks_are_destroyed_after_fourteen_days(connection: Any) -> None:
    """Those of thirteen days ago are there, those of fourteen and more are not, and no slot is used before it is empty."""
    for day in range(16):
        await fill(connection, day, day)
    assert await forget_marks(connection) == 2
    assert sorted(await marks_of(connection, range(16))) == list(range(DAYS))
    assert await forget_marks(connection) == 0


async def test_a_new_day_destroys_the_key_before_it(dsn: str, connection: Any) -> None:
    """Votes of two days are never alike, and nobody can tell any more what yesterday's marks were of."""
    async with asyncpg.create_pool(dsn) as pool:
        marks = Marks(pool, are_kept=True)
        marks.note(1, "198.51.100.0/24")
        await marks.write()
        before = await connection.fetchval("select key from integrity.network_key")
        await connection.execute("update integrity.network_key set day = day - 1")
        marks.note(2, "198.51.100.0/24")
        await marks.write()
    keys = await connection.fetch("select key from integrity.network_key")
    assert [row["key"] != before for row in keys] == [True]


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a PostgreSQL of the test's own, which may stop or crash, and whose files can be read."""
    with servers.postgres_folder() as folder:
        yield folder


@contextmanager
def running(folder: Path, end: signal.Signals) -> Iterator[servers.Postgres]:
    """Run the server for a while; end it in good order, which writes all to the disk (SIGINT), or as in a crash (SIGQUIT)."""
    process = servers.start_postgres(folder, wal_recycle="off", autovacuum="off")
    try:
        yield servers.Postgres(folder)
    finally:
        process.send_signal(end)
        process.wait()


async def test_nothing_is_left_on_disk(folder: Path) -> None:
    """Key and marks are in files of their own, never in the WAL, and in no file once they are destroyed."""
    position = 0x7B_6F_72_6B_21_5A_33_4D
    old = position.to_bytes(8, "little")
    with running(folder, signal.SIGINT) as server:
        await migrate(server.dsn())
        async with asyncpg.create_pool(server.dsn(), min_size=1) as pool:
            assert await pool.fetchval(NOT_UNLOGGED) == 0, "no standby and no base backup holds them"
            marks = Marks(pool, are_kept=True)
            marks.note(1, "198.51.100.0/24")
            await marks.write()
            key = await pool.fetchval("select key from integrity.network_key")
            await fill(pool, DAYS, position)
    found = [{file.split("/")[0] for file in server.files_with(bytes_)} for bytes_ in (key, old)]
    assert found == [{"base"}, {"base"}], "the test sees what is on disk"
    with running(folder, signal.SIGINT) as server:
        async with asyncpg.create_pool(server.dsn(), min_size=1) as pool:
            await pool.execute("update integrity.network_key set day = day - 1")
            assert await forget_marks(pool) == 2
            assert list(await marks_of(pool, [1, position])) == [1]
    assert [server.files_with(bytes_) for bytes_ in (key, old)] == [[], []]


async def test_a_crash_costs_marks_and_nothing_else(folder: Path) -> None:
    """After a crash of the server its marks are gone, and the next votes are marked again, under a key made anew."""
    with running(folder, signal.SIGQUIT) as server:
        await migrate(server.dsn())
        async with asyncpg.create_pool(server.dsn(), min_size=1) as pool:
            marks = Marks(pool, are_kept=True)
            marks.note(1, "198.51.100.0/24")
            await marks.write()
    marks.note(2, "198.51.100.0/24")
    await marks.write()  # PostgreSQL is away: the mark is lost, without an error
    with running(folder, signal.SIGINT) as server:
        async with asyncpg.create_pool(server.dsn(), min_size=1) as pool:
            marks = Marks(pool, are_kept=True)
            marks.note(3, "198.51.100.0/24")
            await marks.write()
            assert list(await marks_of(pool, [1, 2, 3])) == [3]
