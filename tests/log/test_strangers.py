"""Of servers that take writes and are no copies of each other, the one that holds our log is written to, and no other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from events.log import postgres
from events.log.hosts import Host
from events.log.identity import NotOne, Server, pick
from events.log.primary import NoPrimary
from services.migrate import migrate
from services.newsletter.schedule import Schedule
from services.status.advice import STRANGE_SERVER
from services.status.read import read_status
from services.web.log_check import servers_check
from tests.support import servers, standbys
from tests.support.catalogs import new_id
from tests.support.log import add_tools, patient
from tests.support.runners import until

OURS, THEIRS = UUID(int=1), UUID(int=2)


def server(name: str, system: int, timeline: int = 1, log: UUID | None = OURS, *, has_events: bool = True) -> Server:
    """Return a server that takes writes."""
    return Server(Host(name), system, timeline, log, has_events)


@pytest.mark.parametrize(
    ("servers_", "known", "picked"),
    [
        ((server("a", 7), server("b", 7, 2)), None, "b"),
        ((server("a", 7), server("b", 8, 9, None, has_events=False)), None, "a"),
        ((server("a", 7), server("b", 8, 9, THEIRS, has_events=False)), None, "a"),
        ((server("a", 7), server("b", 8, 9, THEIRS)), server("a", 7), "a"),
        ((server("a", 7, has_events=False), server("b", 8, 9, THEIRS)), server("a", 7), "a"),
        ((server("a", 7), server("b", 8, 9)), server("a", 7), "a"),
        ((server("b", 8, 1),), server("a", 7, 5), "b"),
        ((server("a", 0, 0), server("b", 0, 0, THEIRS)), server("b", 0, 0, THEIRS), "b"),
        ((server("a", 0, 0), server("b", 0, 0, None, has_events=False)), None, "a"),
        ((server("a", 7, 1, None), server("b", 7, 2, None)), None, "b"),
    ],
)
def test_what_a_server_says_of_itself_tells_which_is_ours(
    servers_: tuple[Server, ...], known: Server | None, picked: str
) -> None:
    """A copy of the one we knew, at its latest timeline; our log on another system; the only one that has events."""
    assert str(pick(servers_, known).host) == picked
    assert str(pick(servers_[::-1], known).host) == picked


@pytest.mark.parametrize("is_empty", [False, True])
def test_two_logs_are_no_choice(*, is_empty: bool) -> None:
    """Who knows neither takes neither, in whatever order they stand."""
    both = [server("a", 7, has_events=not is_empty), server("b", 8, 9, THEIRS, has_events=not is_empty)]
    for order in (both, both[::-1]):
        with pytest.raises(NotOne):
            pick(order, None)


def promoted(folder: Path) -> None:
    """Let a stopped server begin a later timeline, as one that was a standby once."""
    (folder / "data" / "standby.signal").touch()
    process = servers.restart_postgres(folder)
    asyncio.run(servers.execute(servers.Postgres(folder).dsn(), "select pg_promote()"))
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[servers.Postgres, servers.Postgres]]:
    """Our server, and a stranger that is on a later timeline."""
    with servers.postgres() as ours, servers.postgres_folder() as folder:
        promoted(folder)
        process = servers.restart_postgres(folder)
        try:
            yield ours, servers.Postgres(folder)
        finally:
            process.kill()
            process.wait()


@pytest.fixture
async def name(two: tuple[servers.Postgres, servers.Postgres]) -> AsyncIterator[str]:
    """The name of a database that ours has, with our log, and that the stranger has, empty."""
    name = f"site_{new_id().replace('-', '_').lower()}"
    for one in two:
        await servers.execute(one.dsn(), f'create database "{name}"')
    await migrate(two[0].dsn(name))
    yield name


async def fill(dsn: str) -> None:
    """Let something happen in a log."""
    async with patient(dsn) as committer:
        await add_tools(committer, "a")


def url(two: tuple[servers.Postgres, servers.Postgres], name: str, order: int = 1) -> str:
    """Name both servers, the stranger last or first."""
    return f"postgresql://postgres@/{name}?host={','.join(str(one.folder) for one in two[::order])}&port=5432"


async def folder_of(dsn: str) -> str:
    """Return the folder of the server that a process comes to."""
    connection = await postgres.connect(dsn, "test", seconds=5)
    folder: str = await connection.fetchval("select current_setting('unix_socket_directories')")
    await connection.close()
    return folder


@pytest.mark.postgres
@pytest.mark.parametrize("order", [1, -1])
async def test_a_process_that_starts_takes_the_server_with_our_log(
    two: tuple[servers.Postgres, servers.Postgres], name: str, order: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger of a later timeline has no such log, or an empty one: it isn't taken, and is named."""
    caplog.set_level(logging.WARNING)
    await fill(two[0].dsn(name))
    dsn = url(two, name, order)
    assert await folder_of(dsn) == str(two[0].folder)
    assert f"{two[1].folder}:5432 takes writes, but is no copy of {two[0].folder}:5432" in caplog.text
    await migrate(two[1].dsn(name))
    assert await folder_of(f"{dsn}&sslmode=disable") == str(two[0].folder)


@pytest.mark.postgres
async def test_a_process_that_knows_neither_takes_neither(two: tuple[servers.Postgres, servers.Postgres], name: str) -> None:
    """Where both hold a log of their own nothing is read or written, and both are named."""
    await migrate(two[1].dsn(name))
    for one in two:
        await fill(one.dsn(name))
    with pytest.raises(NoPrimary, match="no copies of each other") as refused:
        await folder_of(url(two, name))
    assert all(str(one.folder) in str(refused.value) for one in two)


@pytest.mark.postgres
async def test_who_knows_our_log_stays_there(
    two: tuple[servers.Postgres, servers.Postgres], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger that appears is left alone, whatever it holds, also while ours is away; `status` and readiness name it."""
    monkeypatch.setattr(postgres, "WATCH_SECONDS", 0.1)
    dsn = url(two, name, -1)
    await servers.execute(two[1].dsn(), f'alter database "{name}" rename to "{name}_away"')
    session = await postgres.connect(dsn, "test")
    await servers.execute(two[1].dsn(), f'alter database "{name}_away" rename to "{name}"')
    await migrate(two[1].dsn(name))
    await fill(two[1].dsn(name))
    watching = asyncio.create_task(postgres.watch(dsn))
    await until(lambda: is_named(dsn))
    said = f"{two[1].folder}:5432 takes writes, but is no copy of {two[0].folder}:5432"
    assert not session.is_closed() and await folder_of(dsn) == str(two[0].folder)
    assert said in (await servers_check(dsn).ask() or "")
    shown = await read_status(session, Schedule(0, 9, "UTC"), dsn=dsn)
    assert [one.advice for one in shown.problems if said in one.what] == [STRANGE_SERVER]
    watching.cancel()
    await session.close()
    await servers.execute(two[0].dsn(), f'alter database "{name}" allow_connections off')
    with pytest.raises(NoPrimary, match="is no copy of"):
        await folder_of(dsn)


async def is_named(dsn: str) -> bool:
    """Tell whether a stranger was found."""
    return bool(postgres.servers_of(dsn).strange)


@pytest.mark.postgres
async def test_sessions_leave_a_server_that_turns_out_to_be_none_of_ours(
    two: tuple[servers.Postgres, servers.Postgres], name: str
) -> None:
    """Who came to a stranger without a log while ours was away goes to ours once it is there."""
    await fill(two[0].dsn(name))
    dsn = url(two, name)
    await servers.execute(two[0].dsn(), f'alter database "{name}" rename to "{name}_away"')
    session = await postgres.connect(dsn, "test")
    assert await session.fetchval("select current_setting('unix_socket_directories')") == str(two[1].folder)
    await servers.execute(two[0].dsn(), f'alter database "{name}_away" rename to "{name}"')
    watching = asyncio.create_task(postgres.watch(dsn))
    await until(lambda: is_closed(session))
    assert await folder_of(dsn) == str(two[0].folder)
    watching.cancel()


async def is_closed(session: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Tell whether a session was ended."""
    return session.is_closed()


@pytest.mark.postgres
async def test_a_dump_of_our_log_is_our_log(two: tuple[servers.Postgres, servers.Postgres], name: str) -> None:
    """A log that moved to another server keeps its identity: who knew it goes on there once the old one is gone."""
    dsn = url(two, name)
    await fill(two[0].dsn(name))
    assert await folder_of(dsn) == str(two[0].folder)
    await asyncio.to_thread(servers.dump_and_restore, two[0].dsn(name), two[1].dsn(name))
    assert await standbys.value(two[1].dsn(name), "select id from log.identity") == await standbys.value(
        two[0].dsn(name), "select id from log.identity"
    )
    await servers.execute(two[0].dsn(), f'alter database "{name}" rename to "{name}_away"')
    assert await folder_of(dsn) == str(two[1].folder)
