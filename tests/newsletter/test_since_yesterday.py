"""What changed since yesterday: counted from the log, the ledger, and what the processes said of themselves."""

from typing import Any

from events.commands.subscribers import Unsubscribe
from events.commands.voters import CorrectVoters
from projections.cards import tallies_at_head
from services.clock import fresh_id
from services.status.day import keep_sizes, read_day, said
from services.status.model import Day
from services.status.processes import Life
from services.status.read import read_status
from tests.support import catalogs
from tests.support.newsroom import Newsroom

# Everything that happened so far happened two days ago.
AGE = """
alter table log.events disable trigger events_append_only;
update log.events set recorded_at = recorded_at - interval '2 days';
alter table log.events enable trigger events_append_only;
update status.starts set started_at = started_at - interval '2 days';
update status.sizes set hour = hour - interval '2 days';
update newsletter.mails set settled_at = settled_at - interval '2 days';
update newsletter.issues set settled_at = settled_at - interval '2 days';
"""


async def read(room: Newsroom) -> Day:
    """Return what changed, as `status` has it."""
    async with room.database.acquire() as connection:
        found = (await read_status(connection, room.schedule)).day  # type: ignore[arg-type]
    assert found is not None
    return found


async def happen(room: Newsroom, slug: str) -> None:
    """Let a tool be added, five vote, two sign up of whom one leaves, and a voter be disqualified."""
    await room.import_tools(catalogs.tool(slug))
    voters = await room.vote(slug, 3, 2)
    gone = await room.subscribe(f"gone-{slug}@example.com")
    await room.subscribe(f"ada-{slug}@example.com")
    await room.committer.submit(Unsubscribe(gone))
    await room.committer.submit(
        CorrectVoters(fresh_id(), [voters[0]], "a farm", tallies_at_head, reinstate=False, operator="op")
    )
    await room.project()


async def test_a_day_is_what_happened_in_it(room: Newsroom) -> None:
    """Votes, tools, readers, corrections, mails and starts of the last 24 hours are counted, those of before are not."""
    await Life(room.settings.database_url, "api").say(None)
    await happen(room, "alpha")
    await room.send_now()
    await room.deliver()
    first = await read(room)
    assert (first.votes, first.tools_added, first.sign_ups, first.confirmed) == (5, 1, 2, 2)
    assert (first.unsubscribed, first.corrections, first.cohorts) == (1, 1, 0)
    assert (first.digests_accepted, first.digests_refused, first.waiting_mails) == (1, 0, 0)
    assert (first.grown_bytes, first.waiting_mails_before) == (None, None)
    assert [(starts.kind, starts.starts) for starts in first.starts] == [("api", 1)]
    await keep_sizes(room.database)
    await keep_sizes(room.database)  # of several workers one keeps them
    await room.database.execute(AGE)
    await Life(room.settings.database_url, "worker").say(None)
    await room.vote("alpha", 1, 0)
    second = await read(room)
    assert (second.events, second.votes, second.tools_added, second.confirmed, second.corrections) == (1, 1, 0, 0, 0)
    assert second.digests_accepted == 0
    assert second.grown_bytes is not None and second.waiting_mails_before == 0
    assert [(starts.kind, starts.starts) for starts in second.starts] == [("worker", 1)]


async def test_a_process_that_beats_was_started_once(room: Newsroom) -> None:
    """Signs of life are no starts; a process that is started again under the same name is."""
    for _ in range(2):
        life = Life(room.settings.database_url, "projector")
        await life.say(None)
        await life.say(None)
    (starts,) = (await read(room)).starts
    assert (starts.kind, starts.starts, len(starts.releases)) == ("projector", 2, 1)


async def test_what_changed_is_said_in_lines(room: Newsroom, valkey_url: str) -> None:
    """A line a subject; what is nil is left out."""
    assert list(said(await read(room))) == ["0 votes"]
    await happen(room, "alpha")
    lines = list(said(await read(room)))
    assert lines == ["5 votes, 1 correction", "1 tool added", "2 sign-ups, 2 confirmed, 1 unsubscribed", "2 waiting"]


async def test_a_day_is_read_from_indexes(room: Newsroom) -> None:
    """However many votes a day has, none of their rows is read."""
    await happen(room, "alpha")
    asked: list[str] = []
    async with room.database.acquire() as connection:
        await connection.execute("set enable_seqscan = off")
        with connection.query_logger(lambda record: asked.append(record.query)):
            await read_day(connection)  # type: ignore[arg-type]
        plans: list[Any] = []
        for query in (one for one in asked if "log.events" in one and "$1" in one):
            plans += [row[0] for row in await connection.fetch(f"explain {query}", 0, 1)]
        await connection.execute("reset enable_seqscan")
    assert plans and sum("events_0_others_idx" in line for line in plans) == 2, plans
