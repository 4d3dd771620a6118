"""What the log promises: dense positions, decisions that cannot lose a race, no neighbour spoiled, nothing changed."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from events.bookmarks import BookmarkRemoved, ToolBookmarked
from events.catalog import ToolNotListed, ToolUnlisted
from events.commands.ballots import CastVote
from events.log import ids
from events.log.cadence import Cadence
from events.log.command import Command, Decision, Found, IdempotencyKey, Reads, Receipt, Seen
from events.log.committer import Committer, LogUnavailable
from events.log.event import Event
from events.log.transaction import MOST_UNDER_LOCK, KeyReused, Known, ListingBehind, decide_and_append
from events.registry import REGISTRY
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append, patient
from tests.support.processes import PATIENCE


async def positions(connection: "asyncpg.Connection[Any]") -> list[int]:
    return [row["position"] for row in await connection.fetch("select position from log.events order by position")]


@pytest.mark.parametrize("statement", ["update log.events set version = 9", "delete from log.events", "truncate log.events"])
async def test_refuses_change(committer: Committer, connection: Any, statement: str) -> None:
    """UPDATE, DELETE and TRUNCATE of the log are refused by the database itself."""
    await add_tools(committer, "a")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
        await connection.execute(statement)


async def test_positions_are_dense_with_many_committers(dsn: str, connection: Any) -> None:
    """Positions have no hole whatever processes append at once, and each visitor's 20 racing votes are one choice."""
    async with patient(dsn) as one, patient(dsn) as two:
        await add_tools(one, "a", "b")
        voters = [new_id() for _ in range(30)]
        votes = [CastVote(v, slug, choice) for v in voters for slug in "ab" for choice in ("ship", "skip") for _ in range(5)]
        receipts = await asyncio.gather(*((one, two)[n % 2].submit(vote) for n, vote in enumerate(votes)))
    found = await positions(connection)
    assert found == list(range(1, len(found) + 1))
    assert sum(r.appended for r in receipts) == len(found) - 2
    chained = await connection.fetchval(
        "select bool_and(data->>'previous' is not distinct from before) from ("
        " select data, lag(data->>'choice') over (partition by stream order by version) as before"
        " from log.events where type = 'VoteCast') t"
    )
    assert chained is True


class AppendBy(Command[None], frozen=True):
    """Append one event in somebody's name, or in nobody's."""

    stream: UUID
    event: Event
    by: str | None

    def reads(self, listing: object) -> Reads:
        """Name the stream."""
        return Reads((self.stream,))

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide."""
        return Decision([(self.stream, self.event)], None, meta=None if self.by is None else {"operator": self.by})


@pytest.mark.parametrize("who", [(None, None, None), ("ada", None, "bob"), (None, "ada", None), ("ada", "ada", "ada")])
@pytest.mark.parametrize("are_alike", [True, False])
async def test_each_event_of_a_batch_is_recorded_as_itself(
    committer: Committer, connection: Any, who: tuple[str | None, ...], are_alike: bool
) -> None:
    """Type, version and `meta` are each event's own, be they alike in the whole batch, in a part of it, or nowhere."""
    visitor, tool = new_id(), new_id()
    add, take_back = ToolBookmarked(visitor=visitor, tool=tool), BookmarkRemoved(visitor=visitor, tool=tool)
    one, other = ids.stream_of(visitor), ids.stream_of(tool)
    plan = (
        [(one, add), (other, add), (ids.stream_of(new_id()), add)]
        if are_alike
        else [(one, add), (one, take_back), (other, add)]
    )
    commands = [AppendBy(stream, event, by) for (stream, event), by in zip(plan, who, strict=True)]
    await asyncio.gather(*map(committer.submit, commands))
    rows = await connection.fetch(
        "select stream, version, type, schema_version, meta->>'operator' from log.events order by position"
    )
    versions = [1, 1, 1] if are_alike else [1, 2, 1]
    assert [tuple(row) for row in rows] == [
        (stream, version, type(event).__name__, 1, by) for (stream, event), version, by in zip(plan, versions, who, strict=True)
    ]


async def test_times_rise_with_positions(committer: Committer, connection: Any) -> None:
    """A time is a position: recorded_at never falls, and position_at finds each event's own."""
    await add_tools(committer, "a")
    for _ in range(5):
        await committer.submit(CastVote(new_id(), "a", "ship"))
    rows = await connection.fetch(
        "select position, recorded_at, log.position_at(recorded_at) as at from log.events order by position"
    )
    assert [r["at"] for r in rows] == [r["position"] for r in rows]
    times = [r["recorded_at"] for r in rows]
    assert times == sorted(set(times))
    assert await connection.fetchval("select log.position_at('-infinity')") == 0
    assert await connection.fetchval("select log.position_at('infinity')") == len(rows)


async def test_a_refused_command_spoils_no_neighbour(committer: Committer, connection: Any) -> None:
    """A rule that refuses, and data that the server refuses, cost only their own command."""
    tools = await add_tools(committer, "a")
    poison = ToolUnlisted(tool="\x00")
    outcomes = await asyncio.gather(
        committer.submit(CastVote(new_id(), "a", "ship")),
        committer.submit(CastVote(new_id(), "none", "ship")),
        committer.submit(append((ids.stream_of(tools["a"]), poison))),
        committer.submit(CastVote(new_id(), "a", "skip")),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], ToolNotListed)
    assert isinstance(outcomes[2], asyncpg.PostgresError)
    assert [o.appended for o in outcomes if not isinstance(o, BaseException)] == [1, 1]
    assert await positions(connection) == [1, 2, 3]


async def test_unlisting_in_one_process_stops_votes_in_another(dsn: str) -> None:
    """The listing is judged under the lock: the moment an unlisting is answered, no process takes a vote."""
    async with patient(dsn) as one, patient(dsn) as two:
        tools = await add_tools(one, "a")
        await two.submit(CastVote(new_id(), "a", "ship"))
        await one.submit(append((ids.stream_of(tools["a"]), ToolUnlisted(tool=tools["a"]))))
        with pytest.raises(ToolNotListed):
            await two.submit(CastVote(new_id(), "a", "ship"))


async def test_a_process_reads_the_listing_while_another_appends(dsn: str, committer: Committer) -> None:
    """A process becomes ready though somebody sits on the head's lock: it reads which tools are listed without it."""
    await add_tools(committer, *(f"t{n}" for n in range(10)))
    blocker = await asyncpg.connect(dsn)
    await blocker.execute("begin")
    await blocker.execute("select * from log.head for update")
    async with patient(dsn) as late:
        assert late.is_ready is False
        async with asyncio.timeout(PATIENCE):
            while not late.is_ready:
                await asyncio.sleep(0.01)
        await blocker.close()
        assert (await late.submit(CastVote(new_id(), "t9", "ship"))).appended == 1


async def test_little_of_the_listing_is_read_under_the_lock(dsn: str, committer: Committer, connection: Any) -> None:
    """However much the catalog grew, a batch reads a bounded part of it while others wait; the rest is read before it."""
    async with patient(dsn) as behind:
        tools = await add_tools(committer, *(f"t{n}" for n in range(3 * MOST_UNDER_LOCK)))
        assert (await behind.submit(CastVote(new_id(), f"t{len(tools) - 1}", "ship"))).appended == 1
    known = Known(REGISTRY)
    with pytest.raises(ListingBehind):
        await decide_and_append(connection, REGISTRY, known, [CastVote(new_id(), "t0", "ship")])
    assert known.listing.position == MOST_UNDER_LOCK


async def test_a_log_that_cannot_be_read_yet_refuses_and_goes_on(dsn: str, connection: Any) -> None:
    """A process that starts while the log can't be read refuses what it is sent, and takes votes once it can."""
    await connection.execute("alter view log.recorded_events rename to away")
    async with patient(dsn) as early:
        with pytest.raises(asyncpg.UndefinedTableError):
            await early.submit(CastVote(new_id(), "a", "ship"))
        await connection.execute("alter view log.away rename to recorded_events")
        await add_tools(early, "a")
        assert (await early.submit(CastVote(new_id(), "a", "ship"))).appended == 1


async def test_idempotency_key(committer: Committer, connection: Any) -> None:
    """A retry with the same key appends nothing and gets the first answer, in one batch and later; another body is refused."""
    await add_tools(committer, "a")
    voter = new_id()
    key = IdempotencyKey(voter, "k1", b"ship")
    first, second = await asyncio.gather(*(committer.submit(CastVote(voter, "a", "ship", key=key)) for _ in range(2)))
    await committer.submit(CastVote(voter, "a", "skip"))
    third = await committer.submit(CastVote(voter, "a", "ship", key=key))
    assert first == second == third
    with pytest.raises(KeyReused):
        await committer.submit(CastVote(voter, "a", "skip", key=IdempotencyKey(voter, "k1", b"skip")))
    assert len(await positions(connection)) == 3


class LargeVote(CastVote, frozen=True):
    """A vote that is appended as a command of very many events is."""

    @property
    def is_large(self) -> bool:
        return True


@pytest.mark.parametrize("vote", [CastVote, LargeVote])
async def test_a_repeat_is_answered_though_its_tool_has_left(committer: Committer, vote: type[CastVote]) -> None:
    """A key that was used gets its answer, whatever has become of what the command names; a new one is refused."""
    tools = await add_tools(committer, "a")
    key = IdempotencyKey(voter := new_id(), "k", b"x")
    first = await committer.submit(vote(voter, "a", "ship", key=key))
    await committer.submit(append((ids.stream_of(tools["a"]), ToolUnlisted(tool=tools["a"]))))
    assert await committer.submit(vote(voter, "a", "ship", key=key)) == first
    with pytest.raises(ToolNotListed):
        await committer.submit(vote(voter, "a", "ship", key=IdempotencyKey(voter, "other", b"x")))


async def test_a_refusal_is_not_kept(committer: Committer) -> None:
    """Only successes are kept: what was refused may be asked again with the same key."""
    key = IdempotencyKey("v", "k", b"x")
    voter = new_id()
    with pytest.raises(ToolNotListed):
        await committer.submit(CastVote(voter, "late", "ship", key=key))
    await add_tools(committer, "late")
    assert (await committer.submit(CastVote(voter, "late", "ship", key=key))).appended == 1


async def test_a_held_head_is_not_waited_for_for_ever(committer: Committer, dsn: str) -> None:
    """While somebody sits on the head's lock, callers get LogUnavailable; then all goes on."""
    await add_tools(committer, "a")
    blocker = await asyncpg.connect(dsn)
    await blocker.execute("begin")
    await blocker.execute("select * from log.head for update")
    with pytest.raises(LogUnavailable):
        await committer.submit(CastVote(new_id(), "a", "ship"))
    await blocker.close()
    await asyncio.sleep(0.3)
    assert (await committer.submit(CastVote(new_id(), "a", "ship"))).appended == 1


@pytest.mark.parametrize("without_lock", [True, False])
async def test_who_waits_for_the_log_is_next(dsn: str, connection: Any, *, without_lock: bool) -> None:
    """Whoever appends again at once after a commit comes after those who wait: no busy process keeps another one out."""
    async with patient(dsn, without_lock=without_lock) as committer:
        await add_tools(committer, "a")
        await committer.submit(CastVote(new_id(), "a", "ship"))
        busy = await asyncpg.connect(dsn)
        await busy.execute("begin; select from log.lock_and_read('{}')")
        for position in range(3, 8):
            vote = committer.submit(CastVote(new_id(), "a", "ship"))
            while await connection.fetchval(WAITING) == 0:
                await asyncio.sleep(0.01)
            await busy.execute("commit; begin; select from log.lock_and_read('{}')")
            assert await busy.fetchval("select position from log.head") == position
            await vote
        await busy.close()


async def test_a_full_queue_refuses_at_once(dsn: str) -> None:
    """The queue is bounded: what does not fit is refused without waiting."""
    async with Committer(dsn, REGISTRY, longest_queue=2) as committer:
        outcomes = await asyncio.gather(
            *(committer.submit(CastVote(new_id(), "none", "ship")) for _ in range(5)), return_exceptions=True
        )
    assert sum(isinstance(o, LogUnavailable) for o in outcomes) == 3


async def test_survives_a_lost_connection(committer: Committer, connection: Any) -> None:
    """When the server drops the committer's connection, the next commands go through on a new one."""
    await add_tools(committer, "a")
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'ballotpress-log' and datname = current_database()"
    )
    done = 0
    for _ in range(20):
        try:
            done += (await committer.submit(CastVote(new_id(), "a", "ship"))).appended
        except LogUnavailable:
            await asyncio.sleep(0.05)
    assert done >= 15
    found = await positions(connection)
    assert found == list(range(1, len(found) + 1))


WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
END_RESTING = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name = 'ballotpress-log' and datname = current_database() and state = 'idle in transaction'
"""
END_SESSION = "select pg_terminate_backend(pg_backend_pid()) where nextval('tries') = 1"
END_AT_COMMIT = """
create function end_session() returns trigger language plpgsql as $$
begin
    perform nextval('tries'), pg_terminate_backend(pg_backend_pid());
    return null;
end $$;
create constraint trigger end_at_commit after insert on log.events deferrable initially deferred
    for each row execute function end_session();
"""


class EndSession(Command[None], frozen=True):
    """A command whose session the server ends when it looks something up for the first time."""

    exclusive = True

    async def look_up(self, connection: Any) -> Found:
        await connection.execute(END_SESSION)
        return Found(None)

    def decide(self, seen: Seen) -> Decision[None]:
        return Decision(events=[(ids.stream_named("test", "session"), ToolUnlisted(tool=new_id()))], value=None)


class AskHowItIsPlanned(Command[str], frozen=True):
    """A command that looks up how the server plans what it looks up."""

    exclusive = True
    receipt_type = Receipt[str]

    async def look_up(self, connection: Any) -> Found:
        return Found(await connection.fetchval("show plan_cache_mode"))

    def decide(self, seen: Seen) -> Decision[str]:
        return Decision(events=[], value=seen.found)


async def test_a_look_up_is_planned_anew(committer: Committer) -> None:
    """A plan that was made beside a new part of the log, and kept, would pass over that part."""
    assert (await committer.submit(AskHowItIsPlanned())).value == "force_custom_plan"


async def test_a_session_that_ends_before_the_commit_costs_nobody_an_answer(committer: Committer, connection: Any) -> None:
    """A batch whose session the server ends is decided again in another one, since nothing of it was recorded."""
    await connection.execute("create sequence tries")
    assert (await committer.submit(EndSession())).appended == 1
    assert await positions(connection) == [1]
    assert await connection.fetchval("select last_value from tries") == 2


async def test_a_session_that_ends_in_the_commit_is_not_tried_again(committer: Committer, connection: Any) -> None:
    """Whether a commit held isn't known once its session is gone: the caller hears so, and asks again by its own key."""
    await add_tools(committer, "a")
    await connection.execute(f"create sequence tries; {END_AT_COMMIT}")
    with pytest.raises(LogUnavailable):
        await committer.submit(CastVote(new_id(), "a", "ship"))
    assert await connection.fetchval("select last_value from tries") == 1
    await connection.execute("drop trigger end_at_commit on log.events")
    assert (await committer.submit(CastVote(new_id(), "a", "ship"))).appended == 1


async def test_no_batch_goes_without_a_transaction(dsn: str, connection: Any) -> None:
    """A session that ends after a commit has begun the next batch's transaction takes it along: the batch begins its own."""
    async with patient(dsn, largest_batch=1, without_lock=False) as committer:
        await add_tools(committer, "a")
        voted, given_up = (committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(2))
        given_up.cancel()
        await voted
        while await connection.fetchval(END_RESTING) == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # until the end of the session is heard of
        receipts = await asyncio.gather(*(committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(3)))
    assert [receipt.position for receipt in receipts] == [3, 4, 5]


async def test_a_lone_caller_never_rests(dsn: str) -> None:
    """Batches keep apart by the size of the last one, so that a single command makes the next one wait for nobody."""
    async with patient(dsn, cadence=Cadence(rest=3600, rest_each=3600)) as committer:
        await add_tools(committer, "a")
        receipts = [await committer.submit(CastVote(new_id(), "a", "ship")) for _ in range(3)]
        assert [receipt.position for receipt in receipts] == [2, 3, 4]
