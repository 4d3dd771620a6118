"""A database that nothing outside of it remembers: it may be a backup, from before its mails went out."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.clock import now
from services.newsletter import ledger
from services.newsletter.mailroom import Mailroom
from services.newsletter.restored import MAY_HAVE_GONE_OUT, WITHOUT_RELAY
from services.settings import Newsletter, Settings
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.sending import run

LIVED = """
insert into status.processes (name, kind, host, pid, release, started_at, seen_at)
values ('worker', 'worker', 'before', 1, '0', now() - interval '3 days', now() - $1::interval)
"""


async def due_an_hour_ago(room: Newsroom) -> Settings:
    """Let a confirmed reader wait for the weekly issue, which was due one to two hours ago; return settings of that hour."""
    await room.import_tools(catalogs.tool("alpha"))
    await room.subscribe("ada@example.com")
    await room.project()
    await room.database.execute("update newsletter.schedule set since = now() - interval '8 days'")
    due = now() - timedelta(hours=1)
    sender = room.settings.newsletter.sender
    newsletter = Newsletter(sender=sender, day=due.weekday(), hour=due.hour)
    return replace(room.settings, base_url="http://127.0.0.1:8000", newsletter=newsletter)  # no mail check holds a first issue


async def begin(room: Newsroom, settings: Settings) -> str | None:
    """Let a worker begin; return why it holds the newsletter."""
    mailroom = Mailroom(settings)
    await mailroom.open()
    await mailroom.tick()
    await mailroom.close()
    held: str | None = await room.database.fetchval("select held from newsletter.schedule")
    return held


async def issues_of(room: Newsroom) -> int:
    """Count the issues."""
    counted: int = await room.database.fetchval("select count(*) from newsletter.issues where edition = 'weekly'")
    return counted


async def test_an_issue_that_was_due_while_nobody_lived_waits_for_an_operator(room: Newsroom) -> None:
    """A backup from before the issue sends nothing by itself; once an operator has said so, it does."""
    settings = await due_an_hour_ago(room)
    await room.database.execute(LIVED, timedelta(hours=3))
    assert await begin(room, settings) == MAY_HAVE_GONE_OUT
    assert await issues_of(room) == 0
    await room.database.execute("update newsletter.schedule set paused_at = null, held = null")
    assert await begin(room, settings) is None
    assert await issues_of(room) == 1


async def test_mails_that_waited_while_nobody_lived_wait_for_an_operator(room: Newsroom) -> None:
    """A backup from amid an issue doesn't send the rest of it by itself."""
    await room.import_tools(catalogs.tool("alpha"))
    await room.subscribe("ada@example.com")
    await room.project()
    number = await room.send_now()
    await room.database.execute(LIVED, timedelta(minutes=20))
    assert await begin(room, room.settings) == MAY_HAVE_GONE_OUT
    assert await room.accounts(number) == {"pending": 1}


async def test_what_went_by_a_relay_doesnt_go_on_without_one(room: Newsroom) -> None:
    """A restored site that was started without SMTP_URL says so, instead of keeping the rest of an issue in the outbox."""
    await room.import_tools(catalogs.tool("alpha"))
    await room.subscribe("ada@example.com")
    await room.project()
    number = await room.send_now()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 1}
    await ledger.hold(room.database, MAY_HAVE_GONE_OUT)
    run(room, "digest", "resume").failed(WITHOUT_RELAY)
    assert await room.database.fetchval("select held from newsletter.schedule") == MAY_HAVE_GONE_OUT
    assert run(room, "digest", "resume", "--outbox").out == "Digests go on\n"
    assert await room.database.fetchval("select held from newsletter.schedule") is None


@pytest.mark.parametrize("silent", [timedelta(minutes=1), None])
async def test_a_site_that_was_there_or_is_new_sends_by_itself(room: Newsroom, silent: timedelta | None) -> None:
    """If somebody lived when the issue was due, or nobody ever did, this is no backup: the issue goes out late."""
    settings = await due_an_hour_ago(room)
    if silent is not None:
        await room.database.execute(LIVED, silent)
    assert await begin(room, settings) is None
    assert await issues_of(room) == 1


async def test_what_is_remembered_outside_is_believed(room: Newsroom) -> None:
    """After an outage of the whole machine, whose worker had kept where the log stood, the issue goes out late."""
    settings = await due_an_hour_ago(room)
    await room.database.execute("update newsletter.schedule set paused_at = now()")
    assert await begin(room, settings) is None
    await room.database.execute("update newsletter.schedule set paused_at = null")
    await room.database.execute(LIVED, timedelta(hours=3))
    assert await begin(room, settings) is None
    assert await issues_of(room) == 1
