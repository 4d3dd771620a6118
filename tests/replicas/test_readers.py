"""Public reads go to a replica in step; whatever becomes of it, none fails, and none shows less than one before."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from events.log.history import Mark
from services.migrate import migrate
from services.replicas import look
from services.replicas.look import AtPrimary, AtReplica
from services.replicas.once import read_standings
from services.replicas.readers import Readers, replicas_of
from services.replicas.replica import Replica, Written
from tests.support import servers, standbys
from tests.support.processes import PATIENCE
from tests.support.replicas import Cluster, Open, frozen, reading
from tests.support.runners import until
from tests.support.settings import settings

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ROUNDS = int(os.environ.get("BALLOTPRESS_TEST_REPLICA_ROUNDS", "3"))

FOLLOWS = "select pg_is_in_recovery()"
MAKE = "create table public.counted (number bigint not null); insert into public.counted values (0)"
RAISE = "update public.counted set number = number + 1"
READ = "select number from public.counted"


async def elsewhere(readers: Readers) -> bool:
    """Tell whether a replica is read from."""
    return readers.are_elsewhere


async def at_primary(readers: Readers) -> bool:
    """Tell whether the primary is read from."""
    return not readers.are_elsewhere


@asynccontextmanager
async def reading_on(readers: Readers, statement: str) -> AsyncIterator[list[int]]:
    """Read a number over and over; give what was read. None of it fails, and none is less than one before."""
    seen: list[int] = []
    is_over = False

    async def read() -> None:
        while not is_over:
            seen.append(await readers.fetchval(statement))
            await asyncio.sleep(0.001)

    task = asyncio.create_task(read())
    try:
        yield seen
    finally:
        is_over = True
        await task
        assert seen == sorted(seen)


@asynccontextmanager
async def counting(readers: Readers, dsn: str) -> AsyncIterator[list[int]]:
    """Count at the primary, and read what was counted."""
    writer = await asyncpg.connect(dsn)
    await writer.execute(MAKE)
    is_over = False

    async def count() -> None:
        while not is_over:
            await writer.execute(RAISE)
            await asyncio.sleep(0.002)

    task = asyncio.create_task(count())
    try:
        async with reading_on(readers, READ) as seen:
            yield seen
    finally:
        is_over = True
        await task
        await writer.close()


async def goes_on(seen: list[int], by: int = 20) -> None:
    """Wait until a reader has read some more."""
    wanted = len(seen) + by
    await until(lambda: _has(seen, wanted))


async def _has(seen: list[int], wanted: int) -> bool:
    return len(seen) >= wanted


async def test_a_replica_in_step_is_read_from(readers: Open) -> None:
    """Soon after the start one of the replicas is, by one process each; nothing is asked twice."""
    async with readers() as made:
        await until(lambda: elsewhere(made))
        assert await made.fetchval(FOLLOWS)
        assert (await made.fetchrow(FOLLOWS))[0] and (await made.fetch(FOLLOWS))[0][0]
        await until(lambda: _read_by(made, 1))
        assert [one.why for one in made.standings()] == [None, None]
        assert made.counts["again"] == 0


async def _read_by(readers: Readers, processes: int) -> bool:
    return sum(one.readers for one in readers.standings()) == processes


async def test_no_read_fails_of_a_replica_that_hangs(ours: Cluster, readers: Open) -> None:
    """All who read there when it is frozen are answered by another server; once it goes on it can be read from again."""
    async with readers() as made:
        await until(lambda: elsewhere(made))
        used = ours.used(made)
        with used.frozen():
            found = await asyncio.gather(*(made.fetchval("select 1") for _ in range(40)))
            assert found == [1] * 40
            await until(lambda: _says(made, "it doesn't answer"))
        await until(lambda: _is_well(made))


async def _says(readers: Readers, why: str) -> bool:
    return any(one.why is not None and why in one.why for one in readers.standings())


async def _is_well(readers: Readers) -> bool:
    return readers.are_elsewhere and not any(one.why for one in readers.standings())


async def test_readers_go_forward_while_replicas_come_and_go(ours: Cluster, readers: Open, dsn: str) -> None:
    """Killed, frozen, held up in turn: no read fails, and none of a process shows less than one before it."""
    draws = random.Random(15)
    async with readers() as made, counting(made, dsn) as seen:
        for _ in range(ROUNDS):
            await until(lambda: elsewhere(made))
            await goes_on(seen)
            await draws.choice((_kill, _freeze, _hold_up))(made, ours, seen)
        await until(lambda: elsewhere(made))
        await goes_on(seen)
        assert made.counts["replica"] > 0 and made.counts["primary"] > 0


async def _kill(readers: Readers, cluster: Cluster, seen: list[int]) -> None:
    used = cluster.used(readers)
    used.kill()
    await goes_on(seen)
    used.start()


async def _freeze(readers: Readers, cluster: Cluster, seen: list[int]) -> None:
    with cluster.used(readers).frozen():
        await goes_on(seen)


async def _hold_up(readers: Readers, cluster: Cluster, seen: list[int]) -> None:
    used = cluster.used(readers)
    await used.says("select pg_wal_replay_pause()")
    await until(lambda: _says(readers, "behind"))
    await goes_on(seen)
    await used.says("select pg_wal_replay_resume()")


async def test_a_replica_a_little_behind_is_waited_for(ours: Cluster, readers: Open, dsn: str) -> None:
    """Where all that comes is replayed a tenth of a second later, who goes there from the primary goes not back by that."""
    async with readers() as made, counting(made, dsn) as seen:
        for _ in range(ROUNDS):
            await until(lambda: elsewhere(made))
            for replica in ours.replicas:
                await replica.delay("100ms")
            await goes_on(seen)
            assert await made.doubt()
            await goes_on(seen)
        await until(lambda: elsewhere(made))
        await goes_on(seen)


async def test_a_primary_that_is_slow_is_left_for_a_replica(readers: Open) -> None:
    """Where every read takes long, more than can be at once, those who come wait until the others have ended."""
    async with readers() as made:
        await until(lambda: elsewhere(made))
        assert await made.doubt()
        slow = [asyncio.create_task(_read_slowly(made)) for _ in range(12)]
        await until(lambda: elsewhere(made))
        await asyncio.gather(*slow)


async def _read_slowly(readers: Readers) -> None:
    while not readers.are_elsewhere:
        await readers.fetchval("select pg_sleep(0.6)")


async def test_a_primary_that_freezes_is_left_for_a_replica(ours: Cluster, dsn: str) -> None:
    """Who reads there, when every process of it stands still, is answered by a replica, and not only whoever comes later."""
    async with reading(dsn, replicas_of(ours.url(servers.name_of(dsn)), 3600), seconds=PATIENCE) as made:
        await until(lambda: elsewhere(made))
        assert await made.doubt()
        slow = [asyncio.create_task(made.fetchval("select pg_is_in_recovery() from pg_sleep(0.2)")) for _ in range(8)]
        with frozen(ours.primary_pid()):
            slow += [asyncio.create_task(made.fetchval(FOLLOWS)) for _ in range(8)]
            assert set(await asyncio.gather(*slow)) == {True}
            assert await made.fetchval(FOLLOWS)
        await until(lambda: elsewhere(made))


async def test_one_that_went_its_own_way_with_the_same_events_is_not_read_from(ours: Cluster, readers: Open, dsn: str) -> None:
    """An old primary that follows without `pg_rewind` holds the log's last event, but not what was made of it: it is left."""
    stray = ours.replicas[0]
    await stray.go_astray()
    database = servers.name_of(dsn)
    await servers.execute(dsn, MAKE)
    async with reading(dsn, replicas_of(ours.url(database, stray), 1)) as made:
        await until(lambda: _says(made, "its history is not the primary's"))
        assert not made.are_elsewhere and made.counts["replica"] == 0
        assert await made.fetchval(READ) == 0
    connection = await asyncpg.connect(dsn)
    shown = await read_standings(settings(dsn, "", read_database_url=ours.url(database, stray)), connection)
    await connection.close()
    assert [one.is_wrong for one in shown] == [True]
    stray.make()


async def test_one_that_was_promoted_is_left(ours: Cluster, readers: Open) -> None:
    """It takes writes of its own, so that it soon holds another log: it is named, and the other replica is read from."""
    async with readers() as made:
        await until(lambda: elsewhere(made))
        used = ours.used(made)
        await used.promote()
        await until(lambda: _says(made, "it was promoted"))
        await until(lambda: elsewhere(made))
        assert ours.used(made) is not used


async def test_where_no_replica_can_be_read_from_the_primary_is(ours: Cluster, dsn: str, postgres: servers.Postgres) -> None:
    """The primary itself, a stranger, and a host that nobody answers at: each is named for what it is."""
    database = servers.name_of(dsn)
    folders = f"{ours.primary.folder},{postgres.folder},/nowhere"
    replicas = replicas_of(f"postgresql://postgres@/{database}?host={folders}&port=5432", 1)
    await servers.execute(postgres.dsn(), f"create database {database}")
    strange = replicas_of(postgres.dsn("template_ballotpress_none"), 1)
    async with reading(dsn, [*replicas, *strange]) as made:
        assert await made.fetchval(FOLLOWS) is False
        await until(lambda: _says(made, "can't be reached"))
        await until(lambda: _says(made, "it has no database of ours yet"))
        own = made.standings()[0]
        await until(lambda: _says(made, look.IS_PRIMARY))
        assert not made.are_elsewhere and own.used is False
        assert [one.is_wrong for one in made.standings()] == [False, True, True, True]


async def test_what_a_replica_ends_is_read_at_the_primary(ours: Cluster, readers: Open, dsn: str) -> None:
    """A read that keeps a replica from replaying is ended there ("conflict with recovery"): nobody is told."""
    async with readers() as made:
        await servers.execute(dsn, MAKE)
        await ours.in_step()
        await until(lambda: elsewhere(made))
        slow = asyncio.create_task(made.fetchval("select number from public.counted, pg_sleep(1.5)"))
        await asyncio.sleep(0.3)
        await servers.execute(dsn, "truncate public.counted; insert into public.counted values (7)")
        assert await slow == 7
        assert made.counts["again"] == 1


async def test_what_a_replica_lacks_or_cannot_do_is_read_at_the_primary(ours: Cluster, readers: Open, dsn: str) -> None:
    """A table that it hasn't got yet, and a statement that writes; a statement that is wrong is refused as ever."""
    async with readers() as made:
        await until(lambda: elsewhere(made))
        for replica in ours.replicas:
            await replica.says("select pg_wal_replay_pause()")
        await servers.execute(dsn, MAKE)
        assert await made.fetchval(READ) == 0
        for replica in ours.replicas:
            await replica.says("select pg_wal_replay_resume()")
        await until(lambda: elsewhere(made))
        assert await made.fetchval(f"{RAISE} returning number") == 1
        await until(lambda: elsewhere(made))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await made.fetchval("select 1 / 0")
        with pytest.raises(asyncpg.DataError):
            await made.fetchval("select $1::integer", "one")
        assert made.are_elsewhere


async def is_the_primary(readers: Readers) -> bool:
    """Tell whether the second server is known for the one that takes writes."""
    return [one.why for one in readers.standings()][1] == look.IS_PRIMARY


async def test_a_failover_fails_no_read() -> None:
    """A primary that is killed, and a replica that is promoted in its place: who reads there reads on, and forward."""
    with standbys.pair() as both:
        await migrate(both.one(0))
        await asyncio.to_thread(both.clone)
        await both.wait_for_standby(synchronous=True)
        async with reading(both.dsn(), replicas_of(both.dsn(query="sslmode=disable"), 1)) as made:
            await until(lambda: elsewhere(made))
            async with reading_on(made, "select position from log.head") as seen:
                both.kill(0)
                await goes_on(seen)
                await both.promote()
                await until(lambda: at_primary(made))
                await goes_on(seen)
            # Until a session has found the new primary, it is one that was promoted beside that which is gone.
            await until(lambda: is_the_primary(made))


async def test_reads_go_on_without_a_primary(ours: Cluster, dsn: str) -> None:
    """Who read at a replica reads on there, and who starts while the primary is away reads there too."""
    nowhere = dsn.replace(str(ours.primary.folder), "/nowhere")
    async with reading(nowhere, replicas_of(ours.url(servers.name_of(dsn)), 1)) as made:
        await until(lambda: elsewhere(made))
        assert await made.fetchval(FOLLOWS)
        assert not await made.doubt()
        assert made.are_elsewhere


ONE = AtPrimary(1, datetime(2026, 1, 1, tzinfo=UTC), 500, 9, datetime(2026, 1, 3, tzinfo=UTC))


def seen(**fields: Any) -> AtReplica:
    """Return what a look at a replica in step finds, but for some of it."""
    plain = {
        "follows": True, "system": 1, "started": datetime(2026, 1, 2, tzinfo=UTC), "replayed": 500, "committed": None,
        "position": 9, "mark": Mark(9, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1)), "readers": 0,
    }  # fmt: skip
    return AtReplica(**{**plain, **fields})


@pytest.mark.parametrize(
    ("found", "lag", "why"),
    [
        (seen(), 0.0, None),
        (seen(), 1.9, None),
        (seen(), 2.1, "it is more than 2 s behind"),
        (seen(system=2), 0.0, "it is no replica of the server that DATABASE_URL names"),
        (seen(follows=False), 0.0, "it was promoted: it takes writes beside the server that DATABASE_URL names"),
        (seen(follows=False, started=ONE.started), 0.0, look.IS_PRIMARY),
    ],
)
async def test_a_replica_is_judged_by_what_it_is(found: AtReplica, lag: float, why: str | None) -> None:
    """By its role, the server that it follows, and how far it is behind."""
    replica = Replica("postgresql://nowhere/x", "one", 2)
    replica.at = found
    replica.judge(ONE, lag, is_held=True)
    assert replica.why == why


async def test_a_history_of_its_own_is_told_from_a_commit_not_yet_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that the primary lacks for a moment is on its way; one that it lacks for longer is of another history."""
    replica = Replica("postgresql://nowhere/x", "one", 2)
    replica.at = seen()
    replica.judge(ONE, 0.0, is_held=False)
    assert replica.why is None
    monkeypatch.setattr("services.replicas.replica.AHEAD_SECONDS", -1.0)
    replica.judge(ONE, 0.0, is_held=False)
    assert replica.why is not None and "make the replica anew" in replica.why


@pytest.mark.parametrize(
    ("committed", "seconds"), [(None, 0), (ONE.at - timedelta(seconds=3), 3), (ONE.at + timedelta(hours=1), 0)]
)
def test_how_long_nothing_came_is_told_by_the_primary_s_clock(committed: datetime | None, seconds: float) -> None:
    """A replica's own clock may differ by hours: what it shows is when the primary committed, and is compared with that."""
    assert look.quiet_seconds(seen(committed=committed), ONE) == seconds


def test_lag_is_how_long_the_first_that_is_lacking_has_waited() -> None:
    """Not how long nothing came: on a quiet site that would be hours. Another server's numbers begin anew."""
    written = Written()
    for at, size in ((10.0, 100), (11.0, 100), (12.0, 150), (13.0, 200)):
        written.note(at, size)
    assert written.lag(200) == 0
    assert written.lag(150) == pytest.approx(0.25)
    assert written.lag(120) == pytest.approx(1.25)
    assert written.lag(99) == pytest.approx(3.25)
    written.note(14.0, 50)
    assert written.lag(50) == 0
