"""What the runner promises: views that keep up by bell and by poll, never twice, halting at poison alone."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from events import quarantine
from events.commands.quarantine import DropEvent
from events.log.committer import Committer
from events.log.ids import stream_named
from events.registry import REGISTRY
from projections.engine import notify
from projections.engine.projection import connect
from projections.engine.runner import Rests, advance
from projections.registry import PROJECTIONS
from services.migrate import migrate
from tests.oracle import compare
from tests.support import servers
from tests.support.histories import A_DAY, SLUGS, VOTERS, History, add_three_tools
from tests.support.log import append, patient, tool_added
from tests.support.runners import CARDS, NOW, at_head, checkpoint, must_be_right, runner, running, until

PASSING = [projection for projection in PROJECTIONS if projection.name not in quarantine.WHOLE]
ALL = [projection.name for projection in PASSING]

CANCEL_WAITING = """
select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity
where application_name = 'ballotpress-cards_4' and wait_event_type = 'Lock'
"""

RAW = """
with head as (update log.head set position = position + 1 returning position)
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select $1, head.position, clock_timestamp(), 1, $2, $3, $4 from head
"""

# As a statement's time-out does it, and sooner: whatever changes more than one tally at once is cancelled.
CANCEL_LARGE_WINDOWS = """
create function cancel_large() returns trigger language plpgsql as $$
begin
    if (select count(*) from changed) > 1 then
        raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';
    end if;
    return null;
end $$;
create trigger cancel_large after insert on cards_4.tallies referencing new table as changed
    for each statement execute function public.cancel_large();
create trigger cancel_large_update after update on cards_4.tallies referencing new table as changed
    for each statement execute function public.cancel_large();
"""


async def cards_at_head(connection: Any) -> None:
    await until(lambda: at_head(connection, [CARDS.schema]))


@contextmanager
def no_halt(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert that nothing worse than a warning was logged: a halt is an error."""
    with caplog.at_level(logging.ERROR):
        yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_view_of_an_empty_log_is_caught_up(dsn: str, connection: Any) -> None:
    """A runner that finds nothing to do says that the view has caught up: a new site is ready."""
    async with running(runner(dsn)):

        async def caught_up() -> bool:
            return bool((await checkpoint(connection, CARDS.schema))["caught_up"])

        await until(caught_up)


async def test_wakes_by_bell(dsn: str, connection: Any) -> None:
    """The log's bell brings a vote into the view, though the poll is hours away; the views' bell follows."""
    advanced = asyncio.Event()
    log_bell, one = notify.Bell(dsn, notify.LOG), runner(dsn, poll=36_000, on_advance=advanced.set)
    ringing = [asyncio.create_task(log_bell.run()), asyncio.create_task(notify.listen(dsn, notify.LOG, one.wake.set))]
    async with patient(dsn, on_commit=lambda events: log_bell.ring()) as committer, running(one):
        await add_three_tools(committer)
        await advanced.wait()  # the tools are one window: its bell rings once, a moment after its commit
        await cards_at_head(connection)
        advanced.clear()
        await History(committer).vote(VOTERS[0], 0, "ship")
        await advanced.wait()
        assert await at_head(connection, [CARDS.schema])
    for task in ringing:
        task.cancel()
    await asyncio.gather(*ringing, return_exceptions=True)


async def test_windows_are_planned_once(dsn: str, committer: Committer) -> None:
    """A runner's statements are planned at their first window, and never for a window by itself."""
    await add_three_tools(committer)
    session, history = await connect(dsn, CARDS.schema), History(committer)
    for choice in ("ship", "skip") * 4:
        await history.vote(VOTERS[0], 0, choice)
        assert (await advance(session, CARDS, REGISTRY, 20_000)).end is not None
    planned = await session.fetchval("select sum(custom_plans) from pg_prepared_statements where statement like '%tallies%'")
    await session.close()
    assert planned == 0


TAKE_ONE_MORE = """
update cards_4.checkpoint c
set position = e.position, seen_position = e.position, seen_at = e.recorded_at, seen_stream = e.stream
from log.events e where e.position = (select h.position from log.head h)
"""
WAITING = "select count(*) from pg_locks where not granted and relation = 'log.events'::regclass"


async def test_a_checkpoint_that_moves_meanwhile_halts_nothing(dsn: str, connection: Any, committer: Committer) -> None:
    """A runner that locks a newer checkpoint than its statement sees, with an event that it doesn't, looks at the log again."""
    await add_three_tools(committer)
    session, other = await connect(dsn, CARDS.schema), await asyncpg.connect(dsn)
    await advance(session, CARDS, REGISTRY, 20_000)
    async with other.transaction():
        await other.execute("lock table log.events in access exclusive mode")
        advancing = asyncio.create_task(advance(session, CARDS, REGISTRY, 20_000))

        async def waits() -> bool:
            return bool(await connection.fetchval(WAITING))

        await until(waits)
        await other.execute(RAW, stream_named("later"), 1, "ToolAdded", "{}")
        await other.execute(TAKE_ONE_MORE)
    advanced = await advancing
    assert advanced.start == advanced.end == await connection.fetchval("select position from log.head")
    await session.close()
    await other.close()


async def test_wakes_by_poll(dsn: str, connection: Any, committer: Committer) -> None:
    """With no bell at all the view follows within a poll."""
    async with running(runner(dsn)):
        await add_three_tools(committer)
        await cards_at_head(connection)
        await History(committer).vote(VOTERS[0], 0, "ship")
        await cards_at_head(connection)


async def test_two_runners_share_the_work(dsn: str, connection: Any, committer: Committer) -> None:
    """Two runners a projection, both awake all the time, count nothing twice; when one is cancelled the other goes on."""
    await add_three_tools(committer)
    pairs = [runner(dsn, projection, poll=0.001, rests=Rests(0.0)) for projection in PROJECTIONS for _ in range(2)]
    history = History(committer)
    async with running(*pairs) as tasks:
        for _ in range(5):
            await history.do([*A_DAY, ("correct", VOTERS, True)])
        for task in tasks[::2]:
            task.cancel()
        await history.do(A_DAY)
        await until(lambda: at_head(connection))
    await must_be_right(connection, dsn)


async def test_takes_over_from_a_stalled_runner(dsn: str, connection: Any, committer: Committer) -> None:
    """A runner that stops inside its window does not hold the view up: another takes over while it still stands there."""
    await add_three_tools(committer)
    stalled = await connect(dsn, CARDS.schema)
    await stalled.execute("begin")
    await stalled.execute("select position from checkpoint for update")
    async with running(runner(dsn)):
        await cards_at_head(connection)
    stalled.terminate()


async def test_compares_in_one_snapshot(dsn: str, connection: Any, committer: Committer) -> None:
    """While votes come in and runners work, a comparison never sees a difference."""
    await add_three_tools(committer)
    async with running(*(runner(dsn, projection) for projection in PROJECTIONS)):
        acting = asyncio.create_task(History(committer).do([*A_DAY, ("correct", VOTERS, True)] * 5))
        while not acting.done():
            for projection in PROJECTIONS:
                assert await compare.differences(connection, projection, REGISTRY) == []
        await acting


async def unknown_type(connection: Any, _: Committer) -> None:
    await connection.execute(RAW, stream_named("test", "poison"), 1, "TeleportationInvented", "{}")


async def newer_version(connection: Any, _: Committer) -> None:
    await connection.execute(RAW, stream_named("test", "poison"), 2, "VoteCast", "{}")


async def hole(connection: Any, _: Committer) -> None:
    await connection.execute("update log.head set position = position + 1")


async def slug_taken(_: Any, committer: Committer) -> None:
    await committer.submit(append((stream_named("test", "poison"), tool_added(VOTERS[0], SLUGS[0]))))


async def no_tool(connection: Any, _: Committer) -> None:
    data = '{"voter": "v", "tool": null, "choice": "ship", "previous": null}'
    await connection.execute(RAW, stream_named("test", "poison"), 1, "VoteCast", data)


async def no_number(connection: Any, _: Committer) -> None:
    data = '{"review": "r", "visitor": "v", "tool": "t", "verdict": "ship", "score": "ten", "text": "", "name": null}'
    await connection.execute(RAW, stream_named("test", "poison"), 1, "ReviewSubmitted", data)


@pytest.mark.parametrize(
    ("poison", "halted", "error"),
    [
        (unknown_type, ALL, "TeleportationInvented version 1"),
        (newer_version, ALL, "VoteCast version 2"),
        (hole, ALL, "HoleInLog"),
        (slug_taken, ["cards"], "tools_slug_key"),
        (no_tool, ["cards", "hours", "integrity", "verdicts"], "NotNullViolation"),
        (no_number, ["reviews"], "InvalidTextRepresentation"),
    ],
)
async def test_halts_at_a_poison_event_until_it_is_dropped(
    dsn: str,
    connection: Any,
    committer: Committer,
    poison: Callable[[Any, Committer], Awaitable[None]],
    halted: list[str],
    error: str,
) -> None:
    """A view halts at the very event that fails, amidst a large window, and says why; others go on; dropped, all is right.

    The tree over the log is not of them: it lets no event pass.
    """
    await add_three_tools(committer)
    history = History(committer)
    await history.do(A_DAY)
    await poison(connection, committer)
    at = await connection.fetchval("select position from log.head")
    await history.do(A_DAY)
    go_on = [projection.schema for projection in PASSING if projection.name not in halted]

    async def as_expected() -> bool:
        found = {p.name: (await checkpoint(connection, p.schema))["halted_position"] for p in PASSING}
        return found == {name: at if name in halted else None for name in ALL} and await at_head(connection, go_on)

    async with running(*(runner(dsn, projection) for projection in PASSING)):
        await until(as_expected)
        for schema in [projection.schema for projection in PASSING if projection.name in halted]:
            row = await checkpoint(connection, schema)
            assert (row["position"], row["halted_since"]) == (at - 1, NOW)
            assert error in row["halted_error"]
        await history.do([("vote", voter, 1, "skip") for voter in VOTERS])
        await until(lambda: at_head(connection, go_on))
        await committer.submit(DropEvent(halted, at, "it never was", "op"))
        await until(lambda: at_head(connection, [projection.schema for projection in PASSING]))
    for projection in PASSING:
        row = await checkpoint(connection, projection.schema)
        assert (row["halted_position"], row["halted_error"], row["halted_since"]) == (None, None, None)
    await must_be_right(connection, dsn, PASSING)


async def test_a_second_poison_event_halts_too(dsn: str, connection: Any, committer: Committer) -> None:
    """Each event is dropped by itself: having passed one, the view halts at the next."""
    await add_three_tools(committer)
    await slug_taken(connection, committer)
    await committer.submit(append((stream_named("test", "more"), tool_added(VOTERS[1], SLUGS[1]))))
    async with running(runner(dsn)):
        for at in (4, 5):

            async def halted(at: int = at) -> bool:
                return bool((await checkpoint(connection, CARDS.schema))["halted_position"] == at)

            await until(halted)
            await committer.submit(DropEvent(["cards"], at, "why", "op"))
        await cards_at_head(connection)
    assert await compare.differences(connection, CARDS, REGISTRY) == []


async def test_a_lost_connection_never_halts(
    dsn: str, connection: Any, committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    """A runner whose backend is terminated, at any moment, connects again and goes on."""
    await add_three_tools(committer)
    history = History(committer)
    with no_halt(caplog):
        async with running(*(runner(dsn, projection, largest=3) for projection in PROJECTIONS)):
            for _ in range(10):
                await history.do(A_DAY)
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'ballotpress-%_1'"
                )
            await until(lambda: at_head(connection))
    await must_be_right(connection, dsn)


async def test_a_lock_held_by_another_never_halts(
    dsn: str, connection: Any, committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is locked for longer than the lock's time-out, or a cancelled statement, is waited for, not halted at."""
    await add_three_tools(committer)
    await History(committer).do(A_DAY)
    locked = connection.transaction()
    await locked.start()
    await connection.execute("lock table cards_4.tallies in access exclusive mode")
    with no_halt(caplog):
        async with running(runner(dsn)):
            # Not on the connection that holds the lock: inside a transaction the server shows one picture of all sessions.
            other = await asyncpg.connect(dsn)
            await until(lambda: other.fetchval(CANCEL_WAITING))
            await other.close()
            await asyncio.sleep(2.5)
            await locked.commit()
            await cards_at_head(connection)
    assert await compare.differences(connection, CARDS, REGISTRY) == []


async def test_a_window_too_large_for_the_time_out_is_taken_in_parts(
    dsn: str, connection: Any, committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server cancels a window's statement for taking too long, the next one is smaller, until it passes."""
    await add_three_tools(committer)
    await History(committer).do([("vote", VOTERS[0], tool, "ship") for tool in range(3)])
    await connection.execute(CANCEL_LARGE_WINDOWS)
    with no_halt(caplog):
        async with running(runner(dsn)):
            await cards_at_head(connection)


@pytest.mark.postgres
async def test_a_restart_of_the_server_never_halts(caplog: pytest.LogCaptureFixture) -> None:
    """While PostgreSQL is gone the runners wait; when it is back they go on by themselves."""
    with servers.postgres_folder() as folder:
        dsn = servers.Postgres(folder).dsn()
        server = servers.start_postgres(folder, fsync="off")
        try:
            await migrate(dsn)
            with no_halt(caplog):
                async with running(*(runner(dsn, projection) for projection in PROJECTIONS)):
                    await a_day(dsn)
                    server.send_signal(signal.SIGINT)
                    server.wait()
                    await asyncio.sleep(0.5)
                    server = servers.start_postgres(folder, fsync="off")
                    await a_day(dsn, 1_000)
                    connection = await asyncpg.connect(dsn)
                    await until(lambda: at_head(connection))
            await must_be_right(connection, dsn)
            await connection.close()
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()


async def a_day(dsn: str, first_id: int = 0) -> None:
    """Let a day pass, with tools on the first one."""
    async with patient(dsn) as committer:
        if first_id == 0:
            await add_three_tools(committer)
        await History(committer, first_id).do(A_DAY)
