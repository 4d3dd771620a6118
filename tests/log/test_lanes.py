"""What a crowd that goes by halves is promised: two batches in flight are one history, told in its order."""

import asyncio
import os
import sys
import time
from collections import Counter
from random import randrange
from typing import Any

import asyncpg
import pytest

from events.catalog import ToolUnlisted
from events.commands.ballots import CastVote
from events.log import conditional, course, history, ids, lane, postgres
from events.log.cadence import Cadence
from events.log.command import IdempotencyKey
from events.log.committer import Committer, LogUnavailable
from events.log.transaction import Known, decide_and_append, follow_all
from events.registry import REGISTRY
from tests.support.catalogs import new_id
from tests.support.doomed_voters import ByHalves
from tests.support.log import add_tools, append, patient
from tests.support.processes import PATIENCE
from tests.support.races import Race
from tests.support.runners import until

KILLS = int(os.environ.get("BALLOTPRESS_TEST_KILLS", "3"))
RACES = int(os.environ.get("BALLOTPRESS_TEST_RACES", "40"))

SESSIONS = "select pid from pg_stat_activity where application_name = 'ballotpress-log' and datname = current_database()"
END_SESSIONS = SESSIONS.replace("select pid", "select pg_terminate_backend(pid)") + " and random() < 0.5"
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
READ_LOG = "select position, stream, version, type, data from log.events order by position"


class Unhurried(CastVote, frozen=True):
    """A vote that takes its time, alone."""

    exclusive = True
    seconds = 60.0


@pytest.fixture
async def dsn(dsn: str) -> str:
    """Give a database whose log has a tool, and room for what is to come."""
    async with patient(dsn) as other:
        await add_tools(other, "a")
        await other.submit(CastVote(new_id(), "a", "ship"))
    return dsn


def by_halves(dsn: str, **options: Any) -> Committer:
    """Return a committer whose crowds go by halves."""
    return patient(dsn, cadence=ByHalves(), **options)


async def test_a_crowd_goes_by_two_sessions(dsn: str, connection: Any) -> None:
    """While half of a crowd is in flight the other half is sent, and a lone caller has no second session opened."""
    async with by_halves(dsn) as committer:
        await committer.submit(CastVote(new_id(), "a", "ship"))
        await committer.submit(CastVote(new_id(), "a", "ship"))
        assert len(await connection.fetch(SESSIONS)) == 1
        blocker = await asyncpg.connect(dsn)
        await blocker.execute("begin; select from log.lock_and_read('{}')")
        votes = [committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(40)]
        while await connection.fetchval(WAITING) < 2:
            await asyncio.sleep(0.01)
        await blocker.close()
        assert sorted(receipt.position or 0 for receipt in await asyncio.gather(*votes)) == [*range(5, 45)]


async def test_what_is_known_of_the_log_is_never_taken_back(dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one lane reads the listing's last event, the other may tell of a later one: that is what the process knows then."""
    known, read = Known(REGISTRY), history.mark_at

    async def read_beside(database: Any, position: int) -> history.Mark | None:
        found = await read(database, position)
        known.mark = await history.mark_of_head(connection)
        return found

    monkeypatch.setattr(history, "mark_at", read_beside)
    await follow_all(connection, REGISTRY, known)
    assert known.mark == await history.mark_of_head(connection)


async def test_a_crowd_that_takes_the_lock_goes_as_one(dsn: str, connection: Any) -> None:
    """Two batches would wait for each other, and for two flushes: so commands with keys have no second session opened."""
    async with by_halves(dsn) as committer:
        for _ in range(3):
            keys = [IdempotencyKey(new_id(), "key", b"") for _ in range(40)]
            await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship", key=key)) for key in keys))
        assert len(await connection.fetch(SESSIONS)) == 1


@pytest.mark.parametrize("without_lock", [True, False])
async def test_halves_and_other_processes_are_one_history(dsn: str, connection: Any, *, without_lock: bool) -> None:
    """Crowds of two processes on few voters: each vote names the one before it, and each receipt its own event."""
    people = [new_id() for _ in range(5)]
    race = Race()

    async def caller(process: Committer, number: int) -> None:
        for n in range(RACES // 4):
            await race.vote(process, people[(n + number) % 5], ("ship", "skip", None)[(n + number) % 3])

    async with by_halves(dsn, without_lock=without_lock) as a, by_halves(dsn) as b:
        await asyncio.gather(*(caller(process, number) for process in (a, b) for number in range(12)))
    await race.must_be_one_history(connection, 2)


async def test_what_is_told_of_two_halves_rises(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If both answers have arrived, what is told first is what was committed first, whichever is read first."""
    told: list[int] = []
    real, calls = conditional.append, iter(range(1000))

    async def late(*arguments: Any) -> Any:
        number = next(calls)
        if number % 2:
            asyncio.get_running_loop().call_soon(time.sleep, 0.1)  # both are answered meanwhile
        answer = await real(*arguments)
        if number % 2 == 0:
            await asyncio.sleep(0)
        return answer

    async with by_halves(dsn, on_commit=lambda events: told.extend(recorded.position for recorded in events)) as committer:
        await committer.submit(CastVote(new_id(), "a", "ship"))
        await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(8)))
        monkeypatch.setattr(conditional, "append", late)
        for _ in range(8):
            await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(40)))
    assert told == sorted(told)
    assert len(told) == 329


async def test_one_half_at_a_time_takes_the_lock(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process knows of the listing is brought up to the head by one batch at a time, which then decides on it."""
    deciding, most = 0, 0
    real = lane.decide_and_append

    async def counting(*arguments: Any) -> Any:
        nonlocal deciding, most
        deciding += 1
        most = max(most, deciding)
        try:
            return await real(*arguments)
        finally:
            deciding -= 1

    async def needs_lock(*arguments: Any) -> Any:
        raise conditional.NeedsLock

    monkeypatch.setattr(lane, "decide_and_append", counting)
    monkeypatch.setattr(conditional, "append", needs_lock)
    async with by_halves(dsn) as committer:

        async def caller() -> None:
            for _ in range(RACES // 4):
                await committer.submit(CastVote(new_id(), "a", "ship"))

        await asyncio.gather(*(caller() for _ in range(20)))
    assert most == 1


async def test_sessions_that_end_lose_and_double_nothing(dsn: str, connection: Any) -> None:
    """Whichever of two sessions ends and whenever, a vote that was in doubt and is cast again is one event."""
    told: list[Any] = []
    people = [new_id() for _ in range(RACES * 5)]

    async with by_halves(dsn, on_commit=told.extend) as committer:

        async def caller(own: list[str]) -> None:
            for voter in own:
                while True:
                    try:
                        await committer.submit(CastVote(voter, "a", "ship"))
                        break
                    except LogUnavailable:
                        await asyncio.sleep(0)

        voting = asyncio.gather(*(caller(people[number::20]) for number in range(20)))
        while not voting.done():
            await connection.execute(END_SESSIONS)
            await asyncio.sleep(0.02)
        await voting
    rows = await connection.fetch(READ_LOG)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    cast = Counter(row["stream"] for row in rows if row["type"] == "VoteCast")
    assert set(cast.values()) == {1} and len(cast) == len(people) + 1
    streams = {row["position"]: row["stream"] for row in rows}
    assert all(streams[recorded.position] == recorded.stream for recorded in told)


async def test_a_process_killed_with_two_batches_in_flight_loses_no_answer(dsn: str, connection: Any) -> None:
    """Whenever a process is killed, each vote that it answered is in the log where it said, once, and positions are dense."""
    answered: dict[str, int] = {}
    for _ in range(KILLS):
        command = [sys.executable, "-m", "tests.support.doomed_voters", dsn]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(randrange(2000, 5000)):
            await process.stdout.readline()
        process.kill()
        lines = (await process.communicate())[0].splitlines()[:-1]
        answered |= {voter.decode(): int(position) for voter, position in map(bytes.split, lines)}
    rows = await connection.fetch("select position, data->>'voter' as voter from log.events order by position")
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    said = {row["voter"]: row["position"] for row in rows if row["voter"] is not None}
    assert len(said) == len(rows) - 1
    assert answered and answered.items() <= said.items()


@pytest.mark.parametrize("refusal", [asyncpg.TooManyConnectionsError("too many clients already"), postgres.PoolerBetween()])
async def test_a_crowd_goes_as_one_without_a_second_session(
    dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """A server that has no session left for the second half refuses nobody; once it has one, crowds go by halves."""
    async with by_halves(dsn) as committer:
        await committer.submit(CastVote(new_id(), "a", "ship"))

        async def refuse(dsn: str) -> None:
            raise refusal

        async def has_two() -> bool:
            await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(40)))
            return len(await connection.fetch(SESSIONS)) == 2

        with monkeypatch.context() as patched:
            patched.setattr(postgres, "connect_appender", refuse)
            assert not await has_two()
        await until(has_two)


async def test_a_tool_leaves_while_a_crowd_goes_by_halves(dsn: str, connection: Any) -> None:
    """One half is brought up to the listing while the other, decided on the last one, is in flight: that decides anew."""
    async with patient(dsn) as other:
        tools, voter = await add_tools(other, "b", "c"), new_id()
        await other.submit(CastVote(voter, "c", "ship"))
        known, chances = Known(REGISTRY), conditional.Chances()
        first, second = [await postgres.connect_appender(dsn) for _ in range(2)]
        await follow_all(first, REGISTRY, known)
        known.room = await connection.fetchval("select max(last_position) from log.parts")
        await other.submit(append((ids.stream_of(tools["b"]), ToolUnlisted(tool=tools["b"]))))
        await first.execute("begin; select from log.lock_and_read('{}')")
        votes = [CastVote(new_id(), "b", "ship"), CastVote(voter, "c", "skip")]
        in_flight = asyncio.ensure_future(conditional.append(second, REGISTRY, known, votes, chances, lambda: None))
        while not await connection.fetchval(WAITING):
            await asyncio.sleep(0.01)
        await decide_and_append(first, REGISTRY, known, [CastVote(new_id(), "c", "ship")])
        await first.execute("commit")
        with pytest.raises(conditional.NeedsLock):
            await in_flight
        first.terminate()
        second.terminate()


async def test_who_comes_after_the_stop_is_refused(dsn: str) -> None:
    """A committer that has stopped answers at once that it takes nothing any more."""
    async with Committer(dsn, REGISTRY) as committer:
        await add_tools(committer, "tool")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LogUnavailable, match="this process stops"):
            await committer.submit(CastVote(new_id(), "tool", "ship"))


async def test_what_is_in_flight_when_a_process_stops_is_answered(dsn: str, connection: Any) -> None:
    """Whoever may wait for longer than the process does hears that it stops: in flight in each half, and in the queue."""
    blocker = await asyncpg.connect(dsn)
    async with Committer(dsn, REGISTRY, patience=3, cadence=ByHalves()) as committer:
        await blocker.execute("begin; select from log.lock_and_read('{}')")
        votes = [committer.submit(Unhurried(new_id(), "a", "ship")) for _ in range(4)]
    assert [type(vote.exception()) for vote in votes if vote.done()] == 4 * [LogUnavailable]
    await blocker.close()


def test_a_half_that_is_held_up_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health knows of a batch that hangs though the other half was committed meanwhile, until it is answered too."""
    clock = [0.0]
    monkeypatch.setattr(course, "monotonic", lambda: clock[0])
    kept = course.Course()
    kept.begin("first")
    kept.begin("second")
    kept.succeed("second")
    clock[0] = 1.5
    assert kept.stuck_seconds == 1.5
    kept.succeed("first")
    assert kept.stuck_seconds == 0.0


def test_a_crowd_goes_by_halves_where_that_pays() -> None:
    """It does while this process works longer for a crowd than a statement takes by itself, and never for a few."""
    cadence = Cadence()
    assert not cadence.goes_by_halves(1000)
    cadence._statement, cadence._command = 0.001, 0.00002
    assert [cadence.goes_by_halves(commands) for commands in (31, 50, 51, 256)] == [False, False, True, True]
