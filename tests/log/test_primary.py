"""Of several hosts the one that takes writes is found, whatever the others do; and one that was left behind is left."""

import asyncio
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log import hosts, postgres, primary
from events.log.committer import Committer, LogUnavailable
from events.log.primary import NoPrimary
from events.registry import REGISTRY
from services.migrate import migrate
from services.newsletter.schedule import Schedule
from services.status.read import read_status
from services.status.writing import why_not
from tests.support import servers, standbys
from tests.support.catalogs import new_id
from tests.support.log import add_tools, patient
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.standbys import Pair

pytestmark = pytest.mark.postgres

READ_ONLY = "alter system set default_transaction_read_only = on"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary with its standby; tests that promote it clone it anew."""
    with standbys.pair() as pair:
        pair.clone()
        yield pair


@pytest.fixture(autouse=True)
def whole(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair as it was: one takes writes, the other follows; and who watches looks often."""
    monkeypatch.setattr(postgres, "WATCH_SECONDS", 0.2)
    for number, process in enumerate(pair.processes):
        if process is None:
            pair.start(number)
    if asyncio.run(standbys.value(pair.one(pair.standby), "select not pg_is_in_recovery()")):
        pair.kill(pair.standby)
        pair.clone()


@pytest.fixture
def hung() -> Iterator[Path]:
    """A folder with a socket on which nobody ever answers."""
    with tempfile.TemporaryDirectory(prefix="bp-") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/.s.PGSQL.5432")
        server.listen()
        yield Path(folder)


async def folder_of(dsn: str) -> str:
    """Connect as a process does; return the folder of the server that it came to."""
    connection = await postgres.connect(dsn, "test", seconds=5)
    folder: str = await connection.fetchval("select current_setting('unix_socket_directories')")
    await connection.close()
    return folder


def named(*folders: Path, query: str = "") -> str:
    """Return a URL of these hosts in this order."""
    return f"postgresql://postgres@/postgres?host={','.join(map(str, folders))}&port=5432{query}"


@pytest.mark.parametrize("query", ["", "&target_session_attrs=read-write", "&target_session_attrs=primary"])
async def test_the_primary_is_found_whatever_the_order(pair: Pair, hung: Path, query: str) -> None:
    """A standby, a host without a server and one that hangs stand before it, and keep nobody for long."""
    main, standby = pair.folders[pair.primary], pair.folders[pair.standby]
    for order in ([main, standby], [standby, main], [hung, Path("/nonexistent"), standby, main]):
        assert await folder_of(named(*order, query=query)) == str(main)
    if hosts.read(named(main, query=query)).must_search:
        assert await folder_of(named(main, query=query)) == str(main)


async def test_a_pool_finds_it_too(pair: Pair) -> None:
    """Connections of a pool are opened in the same way."""
    async with postgres.pool(named(pair.folders[pair.standby], pair.folders[pair.primary]), "test", size=2, seconds=5) as pool:
        await pool.execute("create temp table proof_of_writing (n int)")


async def test_where_nobody_takes_writes_each_host_is_named(pair: Pair, hung: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down, hung, and read-only: one sentence says of each host why it won't do, and that counts as away, not as a defect."""
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 0.5)
    standby = pair.folders[pair.standby]
    with pytest.raises(NoPrimary) as refused:
        await folder_of(named(standby, Path("/nonexistent"), hung))
    assert str(refused.value) == (
        f"no host of DATABASE_URL takes writes: {standby}:5432 is a standby or read-only; "
        f"/nonexistent:5432 can't be reached (No such file or directory); {hung}:5432 does not answer. "
        "Start the primary; if it is gone for good, promote a standby (docs/operating.md, A failover)"
    )
    assert isinstance(refused.value, postgres.UNAVAILABLE)
    with pytest.raises(NoPrimary, match=r"refuses .* does not exist.*\. Correct DATABASE_URL$"):
        await folder_of(named(*pair.folders).replace("/postgres?", "/none?"))


async def test_a_url_of_standbys_alone_is_to_name_the_primary(pair: Pair) -> None:
    """Nobody is led to promote a standby because the URL names it alone."""
    with pytest.raises(
        NoPrimary, match=r"is a standby or read-only\. Name the primary in DATABASE_URL too; if it is gone for good"
    ):
        await folder_of(named(pair.folders[pair.standby], query="&target_session_attrs=read-write"))
    connection = await asyncpg.connect(named(pair.folders[pair.standby]))
    said = await why_not(connection)
    await connection.close()
    assert said is not None
    assert re.fullmatch(r"DATABASE_URL names a standby, .*: name the primary there.*; if .* gone for good, promote .*", said)


async def test_a_host_that_is_missing_is_named(pair: Pair, hung: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is down and one that hangs are; a standby is where it belongs, and so is a name that answers at one address."""
    main, standby = pair.folders[pair.primary], pair.folders[pair.standby]
    dsn = named(standby, Path("/nonexistent"), main, hung)
    await folder_of(dsn)
    down, hangs = postgres.servers_of(dsn).missing
    assert down == "/nonexistent:5432 can't be reached (No such file or directory)"
    assert hangs == f"{hung}:5432 does not answer"
    connection = await asyncpg.connect(named(main))
    problems = (await read_status(connection, Schedule(0, 9, "UTC"), dsn=dsn)).problems
    await connection.close()
    said = {problem.what: problem.advice for problem in problems}
    assert said[f"A host of DATABASE_URL is missing: {down}"].startswith("nobody can take over there: start it")

    async def addresses(host: hosts.Host) -> tuple[hosts.Host, ...]:
        return (hosts.Host("/nonexistent", 5432), hosts.Host(str(main), 5432))

    monkeypatch.setattr(primary, "addresses", addresses)
    dsn = "postgresql://postgres@database.example/postgres?target_session_attrs=primary"
    await folder_of(dsn)
    assert postgres.servers_of(dsn).missing == []


@pytest.mark.parametrize(("code", "comes"), [("42501", True), ("42883", True), ("57P03", False), ("53300", False)])
async def test_a_server_that_does_not_tell_is_taken_and_one_that_fails_is_not(
    code: str, comes: bool, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hosted server may keep its identity to itself; one that stops or is full while it is asked is no primary."""
    ask = f"do $$ begin raise exception 'no' using errcode = '{code}'; end $$"
    monkeypatch.setattr(primary, "_LOOK", ask)
    main = pair.folders[pair.primary]
    if comes:
        assert await folder_of(named(main, pair.folders[pair.standby])) == str(main)
    else:
        with pytest.raises(NoPrimary, match="refuses"):
            await folder_of(named(main, pair.folders[pair.standby]))


async def test_every_address_of_a_name_is_tried(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a standby and a primary leads to the primary; with verified names TLS goes by the name alone."""
    main, standby = pair.folders[pair.primary], pair.folders[pair.standby]

    async def addresses(host: hosts.Host) -> tuple[hosts.Host, ...]:
        return tuple(hosts.Host(str(folder), 5432) for folder in (standby, main))

    monkeypatch.setattr(primary, "addresses", addresses)
    dsn = "postgresql://postgres@database.example/postgres?target_session_attrs=primary"
    assert await folder_of(dsn) == str(main)
    with pytest.raises(NoPrimary, match=r"database\.example"):
        await folder_of(f"{dsn}&sslmode=verify-full")


async def test_a_name_that_can_not_be_looked_up_keeps_nobody(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server of names doesn't answer for one host, the others are asked without it."""
    loop = type(asyncio.get_running_loop())
    real = loop.getaddrinfo

    async def look_up(self: Any, name: Any, *more: Any, **options: Any) -> Any:
        if name == "mute.example":
            await asyncio.sleep(10 * PATIENCE)
        return await real(self, name, *more, **options)

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    main = quote(str(pair.folders[pair.primary]), safe="")
    connection = await postgres.connect(f"postgresql://postgres@mute.example:1,{main}:5432/postgres", "test")
    await connection.close()


async def test_localhost_stands_for_its_addresses() -> None:
    """A name is looked up; an address and a folder are not."""
    assert {host.name for host in await primary.addresses(hosts.Host("localhost", 1))} <= {"localhost", "127.0.0.1", "::1"}
    for host in (hosts.Host("127.0.0.1"), hosts.Host("::1"), hosts.Host("/run/x"), hosts.Host("no.such.host.invalid")):
        assert await primary.addresses(host) == (host,)


async def test_sessions_leave_a_primary_that_was_taken_over_from(pair: Pair) -> None:
    """The standby is promoted while the old primary lives and is reached: sessions there end, and nobody goes back."""
    old, dsn = pair.folders[pair.primary], pair.dsn()
    session = await postgres.connect(dsn, "test")
    watching = asyncio.create_task(postgres.watch(dsn))
    await pair.promote()
    await until(lambda: closed(session))
    assert await folder_of(dsn) == str(pair.folders[pair.primary])
    pair.kill(pair.primary)
    with pytest.raises(NoPrimary, match=rf"{old}:5432 takes writes on timeline [0-9]+, which .* has left by timeline"):
        await folder_of(dsn)
    watching.cancel()


async def test_a_process_that_starts_beside_two_primaries_takes_the_later(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever knows nothing asks all hosts: the later timeline holds, wherever it stands, and the other is told of."""
    old = pair.folders[pair.primary]
    await pair.promote()
    assert await folder_of(named(old, pair.folders[pair.primary])) == str(pair.folders[pair.primary])
    assert f"{old}:5432 takes writes on timeline" in caplog.text and "stop it, so that nobody writes there" in caplog.text


async def test_sessions_leave_a_primary_that_takes_no_writes_any_more(pair: Pair) -> None:
    """A demoted primary that goes on answering reads is left as soon as another takes writes."""
    old, dsn = pair.primary, pair.dsn()
    session = await postgres.connect(dsn, "test")
    watching = asyncio.create_task(postgres.watch(dsn))
    await servers.execute(pair.one(old), READ_ONLY)
    await servers.execute(pair.one(old), "select pg_reload_conf()")
    await pair.promote()
    await until(lambda: closed(session))
    assert await folder_of(dsn) == str(pair.folders[pair.primary])
    watching.cancel()


async def closed(session: "asyncpg.Connection[Any]") -> bool:
    """Tell whether a session was ended."""
    return session.is_closed()


async def test_a_repeated_vote_is_not_acknowledged_by_reading_it(pair: Pair) -> None:
    """A vote whose wait for the standby was cut off can be read, yet a failover would lose it: to repeat it waits, too."""
    dsn = pair.one(pair.primary, "voting")
    await servers.execute(pair.one(pair.primary), "create database voting")
    await migrate(dsn)
    async with patient(dsn) as committer:
        await add_tools(committer, "a")
    await pair.wait_for_standby(synchronous=True)
    vote = CastVote(new_id(), "a", "ship")
    with pair.frozen(pair.standby):
        async with Committer(dsn, REGISTRY, patience=60) as cut_off:
            asked = cut_off.submit(vote)
            await until(lambda: cut_wait_off(dsn))
            with pytest.raises(LogUnavailable):
                await asked
        assert await standbys.value(dsn, "select position from log.head") == 2
        async with Committer(dsn, REGISTRY, patience=3) as another:
            with pytest.raises(LogUnavailable):
                await another.submit(vote)
    async with patient(dsn) as committer:
        receipt = await committer.submit(vote)
    assert (receipt.position, receipt.appended) == (2, 0)
    await pair.wait_for_standby(synchronous=False)


async def cut_wait_off(dsn: str) -> bool:
    """End the session that waits for the standby; tell whether there was one."""
    waits = "application_name = 'ballotpress-log' and wait_event = 'SyncRep'"
    ended = await standbys.value(dsn, f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {waits}")  # noqa: S608
    return bool(ended)
