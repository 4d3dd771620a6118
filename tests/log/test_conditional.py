"""What a conditional append promises: the decisions that the head's lock would have led to, whatever happens in between."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from threading import Thread
from typing import Any, ClassVar

import asyncpg
import pytest

from events import ballots, voters
from events.ballots import VoteCast
from events.catalog import ToolNotListed, ToolUnlisted
from events.commands.ballots import CastVote, Vote
from events.log import conditional, ids
from events.log.command import Command, Decision, Effect, Reads, Seen
from events.log.committer import Committer
from events.log.event import UnknownEvent
from tests.support.catalogs import new_id
from tests.support.doomed_voters import ByHalves
from tests.support.log import Append, add_tools, append, go_back, patient, tool_added
from tests.support.parts import make_small
from tests.support.races import Race

RACES = int(os.environ.get("BALLOTPRESS_TEST_RACES", "40"))

SIZE = 30
"""Positions of a part."""

SESSIONS = "select count(*) from pg_stat_activity where application_name = 'ballotpress-log' and datname = current_database()"
SLEEPING = "select exists (select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database())"

Meddling = Callable[["asyncpg.Connection[Any]"], Awaitable[Any]]


class Fails(Append, frozen=True):
    """A command whose transaction fails a moment after it has appended its events."""

    def decide(self, seen: Seen) -> Decision[None]:
        return Decision(events=self.events, value=None, effects=[Effect("select 1 / (count(*) - 1) from pg_sleep(0.5)")])


class Meddled(CastVote, frozen=True):
    """A vote; after each of its decisions, something happens to the log before the vote can be appended."""

    dsn: ClassVar[str]
    happens: ClassVar[list[Meddling]]
    decided: ClassVar[int]

    def decide(self, seen: Seen) -> Decision[Vote]:
        Meddled.decided += 1
        decision = super().decide(seen)
        if self.happens:
            beside = Thread(target=asyncio.run, args=(_do(self.dsn, self.happens.pop(0)),))
            beside.start()
            beside.join()
        return decision


async def _do(dsn: str, meddling: Meddling) -> None:
    connection = await asyncpg.connect(dsn)
    await meddling(connection)
    await connection.close()


@pytest.fixture
def happens(dsn: str) -> Iterator[list[Meddling]]:
    """Give the list of what happens after each decision of a meddled vote."""
    Meddled.dsn, Meddled.happens, Meddled.decided = dsn, [], 0
    yield Meddled.happens
    assert not Meddled.happens, "it did not come to all of it"


@pytest.fixture
async def dsn(dsn: str, connection: Any) -> str:
    """Give a database whose log has two tools, and parts so small that votes come to their ends."""
    await make_small(connection, SIZE)
    async with patient(dsn) as other:
        await add_tools(other, "a", "b")
    return dsn


def does(command: Command[Any]) -> Meddling:
    """Let another process do a command."""

    async def submit(connection: "asyncpg.Connection[Any]") -> None:
        async with patient(Meddled.dsn, without_lock=False) as other:
            await other.submit(command)

    return submit


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note how each conditional append ends: `appended`, or the name of what it raises."""
    noted: list[str] = []
    real = conditional.append

    async def noting(*arguments: Any) -> Any:
        try:
            answer = await real(*arguments)
        except Exception as error:
            noted.append(type(error).__name__)
            raise
        noted.append("appended")
        return answer

    monkeypatch.setattr(conditional, "append", noting)
    return noted


async def warm(committer: Committer) -> None:
    """Let a process know of the listing, and of a part that has room."""
    await committer.submit(CastVote(new_id(), "a", "ship"))


async def head(connection: Any) -> int:
    position: int = await connection.fetchval("select position from log.head")
    return position


async def test_a_first_vote_takes_one_statement(committer: Committer, tried: list[str]) -> None:
    """A lone caller's vote is appended without the lock once there is known to be room, be it a first one or a change."""
    await warm(committer)
    voter = new_id()
    for choice, previous in (("ship", None), ("skip", "ship"), (None, "skip"), ("ship", None)):
        receipt = await committer.submit(CastVote(voter, "a", choice))
        assert (receipt.appended, receipt.value.previous) == (1, previous)
    assert tried[0] == "NeedsLock"
    assert tried[1:3] == ["appended", "appended"]


async def test_a_crowds_first_votes_take_one_statement(dsn: str, tried: list[str], connection: Any) -> None:
    """A large batch is decided on a guess too; after a wrong one it takes the lock, and a voter's change is what it is."""
    await connection.execute("select log.make_room(1000)")
    async with patient(dsn) as committer:
        await warm(committer)
        tried.clear()
        voters = [new_id() for _ in range(100)]
        for choice, previous in (("ship", None), ("skip", "ship"), (None, "skip")):
            receipts = await asyncio.gather(*(committer.submit(CastVote(voter, "a", choice)) for voter in voters))
            assert {(receipt.appended, receipt.value.previous) for receipt in receipts} == {(1, previous)}
            assert [receipt.position for receipt in receipts] == [
                *range(await head(connection) - 99, await head(connection) + 1)
            ]
    assert tried == ["appended", "appended"]  # a guess that was right, one that was wrong, and none


async def test_another_ones_vote_in_between_costs_nothing(
    committer: Committer, happens: list[Meddling], tried: list[str], connection: Any
) -> None:
    """What is appended to other streams moves the vote's position, and neither its decision nor the way it takes."""
    await warm(committer)
    happens.append(does(CastVote(new_id(), "a", "ship")))
    receipt = await committer.submit(Meddled(new_id(), "a", "skip"))
    assert (receipt.position, Meddled.decided) == (await head(connection), 1)
    assert tried[-1] == "appended"


async def test_what_a_commit_tells_is_where_the_log_has_it(dsn: str, happens: list[Meddling], connection: Any) -> None:
    """The events that a commit hands on have the positions that they got, though others came in between."""
    told: list[Any] = []
    async with patient(dsn, on_commit=told.extend) as committer:
        await warm(committer)
        happens.append(does(CastVote(new_id(), "a", "ship")))
        await committer.submit(Meddled(new_id(), "a", "skip"))
    rows = {row["position"]: row["stream"] for row in await connection.fetch("select position, stream from log.events")}
    assert [rows[recorded.position] for recorded in told] == [recorded.stream for recorded in told]


async def test_the_same_voters_vote_in_between_is_seen(committer: Committer, happens: list[Meddling], tried: list[str]) -> None:
    """A vote that the same voter cast elsewhere after the decision is the previous one of this vote."""
    await warm(committer)
    voter = new_id()
    happens.append(does(CastVote(voter, "a", "ship")))
    receipt = await committer.submit(Meddled(voter, "a", "skip"))
    assert (receipt.appended, receipt.value.previous, Meddled.decided) == (1, "ship", 2)
    assert tried[-1] == "appended"


async def test_a_race_lost_twice_is_decided_under_the_lock(
    committer: Committer, happens: list[Meddling], tried: list[str]
) -> None:
    """Whoever keeps losing a stream to others takes the lock, and for a while from then on does so at once."""
    await warm(committer)
    voter = new_id()
    happens += [does(CastVote(voter, "a", "ship")), does(CastVote(voter, "a", None))]
    receipt = await committer.submit(Meddled(voter, "a", "skip"))
    assert (receipt.appended, receipt.value.previous, Meddled.decided) == (1, None, 3)
    assert tried[-1] == "Lost"
    del tried[:]
    await committer.submit(CastVote(new_id(), "a", "ship"))
    assert tried == []


async def test_a_disqualification_in_between_refuses(committer: Committer, happens: list[Meddling]) -> None:
    """A voter who is disqualified after the decision has no vote appended."""
    await warm(committer)
    voter = new_id()
    out = voters.VoterDisqualified(voter=voter, ballots=(), correction=new_id())
    happens.append(does(append((ids.stream_of(voter), out))))
    with pytest.raises(voters.VoterIsDisqualified):
        await committer.submit(Meddled(voter, "a", "ship"))


async def test_an_unlisting_in_between_refuses(committer: Committer, happens: list[Meddling], tried: list[str]) -> None:
    """A tool that is unlisted after the decision gets no vote: the listing is part of what must stand."""
    await warm(committer)
    tool = committer._common.known.listing.listed("b")
    happens.append(does(append((ids.stream_of(tool), ToolUnlisted(tool=tool)))))
    with pytest.raises(ToolNotListed):
        await committer.submit(Meddled(new_id(), "b", "ship"))
    assert tried[-1] == "NeedsLock"


async def test_a_log_that_goes_back_in_between_is_noticed(
    committer: Committer, happens: list[Meddling], connection: Any
) -> None:
    """A log that lost what this process knew is told of, and the vote is decided on what is left."""
    await warm(committer)
    voter = new_id()
    await committer.submit(CastVote(voter, "a", "ship"))
    kept = await head(connection) - 1
    happens.append(lambda connection: go_back(connection, kept))
    receipt = await committer.submit(Meddled(voter, "a", "skip"))
    assert (receipt.position, receipt.value.previous) == (kept + 1, None)
    assert await connection.fetchval("select kept_position from log.rewinds") == kept


async def test_an_event_of_a_later_release_refuses_its_own_vote_alone(committer: Committer, connection: Any) -> None:
    """A stream that a later release wrote to is read by no guess: its vote is refused, and its neighbour's is taken."""
    await warm(committer)
    voter, other = new_id(), new_id()
    stream = ballots.stream(voter, committer._common.known.listing.listed("a"))
    await connection.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
        " select $1, position + 1, clock_timestamp(), 1, 1, 'VoteWeighed', '{}' from log.head",
        stream,
    )
    await connection.execute("update log.head set position = position + 1")
    outcomes = await asyncio.gather(
        *(committer.submit(CastVote(one, "a", "ship")) for one in (voter, other)), return_exceptions=True
    )
    assert isinstance(outcomes[0], UnknownEvent)
    assert outcomes[1].appended == 1  # type: ignore[union-attr]


async def test_a_vote_on_a_vote_of_the_same_batch_names_its_position(
    committer: Committer, happens: list[Meddling], connection: Any
) -> None:
    """A command that saw another one's event is decided anew when the log has moved: it names positions as they are."""
    await warm(committer)
    voter = new_id()
    happens.append(does(CastVote(new_id(), "a", "ship")))
    first, second = await asyncio.gather(
        committer.submit(Meddled(voter, "a", "ship")), committer.submit(CastVote(voter, "a", "skip"))
    )
    assert second.value.earlier == first.position
    assert second.position == first.position + 1 == await head(connection)


async def test_an_answer_without_events_waits_for_the_lock(committer: Committer, dsn: str) -> None:
    """That nothing needs to be appended is answered once everything it rests on is durable: the head's lock says so."""
    await warm(committer)
    voter = new_id()
    await committer.submit(CastVote(voter, "a", "ship"))
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute("select from log.head for update")
        same = committer.submit(CastVote(voter, "a", "ship"))
        refused = committer.submit(CastVote(new_id(), "none", "ship"))
        await asyncio.sleep(0.3)
        assert not same.done() and not refused.done()
    assert (await same).appended == 0
    with pytest.raises(ToolNotListed):
        await refused
    await other.close()


class WithEffect(Command[None], frozen=True):
    """A command of one event and one effect."""

    def reads(self, listing: object) -> Reads:
        return Reads([ids.stream_named("test", "effect")])

    def decide(self, seen: Seen) -> Decision[None]:
        event = ToolUnlisted(tool=new_id())
        return Decision([(seen.reads.lasts[0], event)], None, effects=[Effect("insert into done values (txid_current())")])


async def test_effects_go_with_their_events(committer: Committer, connection: Any, tried: list[str]) -> None:
    """An effect, such as an erasure's, happens in the transaction of its events, and once."""
    await connection.execute("create table done (xid bigint)")
    await warm(committer)
    receipt = await committer.submit(WithEffect())
    written = await connection.fetchval("select xmin::text::bigint from log.events where position = $1", receipt.position)
    assert await connection.fetch("select xid % (2^32)::bigint from done") == [(written,)]
    assert tried[-1] == "NeedsLock"


async def test_a_part_that_others_filled_in_between_costs_no_vote(
    committer: Committer, happens: list[Meddling], tried: list[str], connection: Any
) -> None:
    """A vote whose place others took, up to the last one that there is a part for, gets the first one of the next part."""
    await warm(committer)
    left = 30 - await head(connection)
    vote = VoteCast(voter=new_id(), tool=new_id(), choice="ship")
    happens.append(does(append(*((ids.stream_named("test", str(n)), vote) for n in range(left)))))
    receipt = await committer.submit(Meddled(new_id(), "a", "skip"))
    assert (receipt.position, tried[-1]) == (31, "NeedsLock")


async def test_racing_processes_are_one_history(dsn: str, connection: Any) -> None:
    """Lone callers of four processes on three voters: each vote names the one before it, and each receipt its own event.

    The log's parts are made as they need them.
    """
    people = [new_id() for _ in range(3)]
    race = Race()

    async def caller(process: Committer, number: int) -> None:
        for n in range(RACES):
            await race.vote(process, people[n % 3], ("ship", "skip", None)[(n + number) % 3])

    async with patient(dsn) as a, patient(dsn) as b, patient(dsn) as c, patient(dsn, without_lock=False) as d:
        await asyncio.gather(*(caller(process, number) for number, process in enumerate((a, b, c, d))))
    await race.must_be_one_history(connection, 2)


def test_rests_grow_and_end() -> None:
    """After each loss that follows upon another, the lock is taken for twice as long, up to about a minute."""
    rest = conditional.Rest()
    assert rest.is_over
    lengths = []
    for _ in range(8):
        rest.begin()
        assert not rest.is_over
        lengths.append(rest.seconds)
    assert lengths == [1, 2, 4, 8, 16, 32, 64, 64]


async def test_a_part_that_goes_with_its_transaction_refuses_nobody(dsn: str, connection: Any) -> None:
    """While one half makes a part in a transaction that fails, a vote of the other half waits, and makes the part itself."""
    fails = Fails(events=[(ids.stream_of(tool := new_id()), tool_added(tool, "c"))])
    async with patient(dsn, cadence=ByHalves()) as committer:
        await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(8)))
        while await connection.fetchval(SESSIONS) < 2:
            await asyncio.sleep(0.01)
        for _ in range(SIZE - 2 - 8):
            await committer.submit(CastVote(new_id(), "a", "ship"))
        failing = committer.submit(fails)
        while not await connection.fetchval(SLEEPING):
            await asyncio.sleep(0.01)
        vote = committer.submit(CastVote(new_id(), "a", "ship"))
        with pytest.raises(asyncpg.DivisionByZeroError):
            await failing
        assert (await vote).position == SIZE + 1
