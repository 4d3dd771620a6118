"""Issues: what they say comes from the log alone, once a period, and who gets them is planned with reasons."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emails.rendering import render_subject
from events.commands.bookmarks import SetBookmark
from events.commands.voters import CorrectVoters
from events.integrity import Judgement, Ruling
from projections.cards import tallies_at_head
from projections.issues import MOST_KEPT, Content, ToolFact, compile_afresh, encode_content
from services.clock import fresh_id
from services.integrity.decisions import decide
from services.newsletter import issues, periods
from services.newsletter.digest import Heading, change_line, digest_values, read_issue
from services.newsletter.schedule import Schedule
from tests.support import catalogs
from tests.support.cohorts import suspect
from tests.support.newsroom import Newsroom

WEEK = timedelta(days=7)
MONDAY = datetime(2099, 11, 23, 9, tzinfo=UTC)  # after `migrate` ran, whenever that was


async def test_an_issue_tells_what_is_new_and_what_moved(room: Newsroom) -> None:
    """New tools and comparisons, movers with before and after, and, of the next period, only what came since."""
    await room.import_tools(catalogs.tool("alpha"), catalogs.tool("beta"), pairs=(("alpha", "beta"),))
    await room.vote("alpha", 3, 7)
    await room.project()
    first = await read_issue(room.database, await room.send_now())
    assert [tool.slug for tool in first.content.new_tools] == ["beta", "alpha"]
    assert [pair.slug for pair in first.content.new_comparisons] == ["alpha-vs-beta"]
    assert first.content.movers == ()
    await room.vote("alpha", 10, 0)
    await room.project()
    second = await read_issue(room.database, await room.send_now(extra=True))
    assert (second.content.new_tools, second.content.new_comparisons) == ((), ())
    (mover,) = second.content.movers
    assert (mover.slug, mover.before, mover.community, mover.votes) == ("alpha", (3, 7), (13, 7), 10)


async def test_an_issue_leads_with_what_readers_settled(room: Newsroom) -> None:
    """A verdict that the period's votes settled comes first, in the list and the title; one settled before is no news again."""
    await room.import_tools(catalogs.tool("alpha", panel=[catalogs.opinion(verdict="skip")]), catalogs.tool("beta"))
    await room.vote("alpha", 9, 2)
    await room.vote("beta", 12, 0)
    await room.project()
    first = await shown(room, await room.send_now())
    assert [(tool["name"], tool["verdict_line"]) for tool in first["newly_settled"]] == [("Beta", "Ship, settled")]
    assert render_subject(first) == "Beta is settled: ship (100% say ship)"
    assert first["disagreements"] == []  # readers lean against the panel, but that isn't settled
    await room.vote("beta", 3, 0)
    await room.vote("alpha", 30, 2)
    await room.project()
    second = await shown(room, await room.send_now(extra=True))
    assert [tool["name"] for tool in second["newly_settled"]] == ["Alpha"]
    assert [(tool["name"], tool["verdict_line"]) for tool in second["disagreements"]] == [("Alpha", "Ship, settled")]


async def test_a_verdict_that_rests_on_votes_not_judged_yet_is_not_told(room: Newsroom) -> None:
    """Who floods a tool minutes before the digest is compiled gets no headline: its verdict is still being checked."""
    await room.import_tools(catalogs.tool("alpha", panel=[catalogs.opinion(verdict="skip")]), catalogs.tool("beta"))
    await room.vote("beta", 20, 0)
    await room.database.execute("update integrity.scans set scanned_to = now()")
    await room.vote("alpha", 40, 0)
    await room.vote("beta", 3, 0)
    await room.project()
    number = await room.send_now()
    first = await shown(room, number)
    assert [tool["name"] for tool in first["newly_settled"]] == ["Beta"]
    assert first["disagreements"] == []
    assert "settled" not in change_line(await fact(room, number, "alpha"))
    assert await issues.verify(room.settings.database_url, number)


@pytest.mark.parametrize("decision", [None, "dismiss"])
async def test_a_verdict_under_review_is_not_told(room: Newsroom, decision: Judgement | None) -> None:
    """While a cohort that would change it waits, no mail tells of a settled verdict; dismissed, it is told as others are."""
    await room.import_tools(catalogs.tool("alpha"))
    await room.vote("alpha", 3, 3)
    await room.project()
    await room.send_now()
    await room.vote("alpha", 40, 0)
    await room.project()
    async with room.database.acquire() as connection:
        tool = await connection.fetchval("select data->>'tool' from log.events where type = 'ToolAdded'")
        cohort = await suspect(connection, tool)
    if decision is not None:
        await decide(room.database, room.committer, cohort.id, Ruling(decision, "a launch", "ada", fresh_id(), 0))
        await room.project()
    number = await room.send_now(extra=True)
    values = await shown(room, number)
    assert [tool["name"] for tool in values["newly_settled"]] == (["Alpha"] if decision else [])
    told = "Ship, settled" if decision else "Still being checked"
    assert [tool["verdict_line"] for tool in values["movers"]] == [told]
    assert ("Alpha" in render_subject(values)) == bool(decision)
    assert await issues.verify(room.settings.database_url, number)


async def fact(room: Newsroom, number: int, slug: str) -> ToolFact:
    """Give what an issue knows of a tool."""
    content = (await read_issue(room.database, number)).content
    return next(tool for tool in content.changes if tool.slug == slug)


async def test_a_mover_leads_only_when_it_is_settled(room: Newsroom) -> None:
    """A tool that moved by a few votes is listed as so far, and isn't the title."""
    await room.import_tools(catalogs.tool("alpha"), catalogs.tool("beta"), pairs=(("alpha", "beta"),))
    await room.vote("alpha", 3, 3)
    await room.project()
    await room.send_now()
    await room.vote("alpha", 5, 0)
    await room.project()
    values = await shown(room, await room.send_now(extra=True))
    assert [(tool["after_percent"], tool["verdict_line"]) for tool in values["movers"]] == [(73, "Too early to call")]
    assert "went from" not in render_subject(values)


async def test_an_issue_from_before_settled_verdicts_stays_as_it_was(room: Newsroom) -> None:
    """Its facts have the bytes that they had, it verifies, and its title and lines go by a single look as when it was sent."""
    await room.import_tools(catalogs.tool("alpha", panel=[catalogs.opinion(verdict="skip")]))
    await room.vote("alpha", 3, 3)
    await room.project()
    await room.send_now()
    await room.vote("alpha", 9, 0)
    await room.project()
    number = await room.send_now(extra=True)
    async with issues.rolled_back(room.settings.database_url) as connection:
        row = await connection.fetchrow("select from_position, to_position from newsletter.issues where number = $1", number)
        old = await compile_afresh(connection, *row, set(), by_settled=False)
    raw, digest = encode_content(old)
    assert b"settled" not in raw.encode()
    await room.database.execute(
        "update newsletter.issues set content = $2, content_hash = $3 where number = $1", number, raw, digest
    )
    assert await issues.verify(room.settings.database_url, number)
    values = await shown(room, number)
    assert render_subject(values) == "Alpha went from 50% to 80% ship"
    assert [tool["verdict_line"] for tool in values["movers"]] == [""]
    assert "settled" not in " ".join(str(value) for value in values["movers"])


async def shown(room: Newsroom, number: int) -> dict[str, Any]:
    """Give what an issue says."""
    issue = await read_issue(room.database, number)
    return digest_values(issue.heading, issue.content, None, "https://verdicts.example.com")


@pytest.mark.parametrize("found, listed, more", [(8, 8, ""), (9, 8, "1 more"), (MOST_KEPT, 8, "at least 42 more")])
def test_a_long_list_is_cut_and_says_by_how_much(found: int, listed: int, more: str) -> None:
    """A mail lists eight new tools; of a list that was already cut when the issue was compiled it gives the least number."""
    heading = Heading(
        number=1, edition="weekly", period_from=MONDAY, period_to=MONDAY, from_position=0, to_position=0, checkpoint=None
    )
    tool = ToolFact(
        tool="t", slug="alpha", name="Alpha", category="Chat", tagline="", panel=(0, 0), community=(0, 0), before=(0, 0)
    )
    values = digest_values(heading, Content(new_tools=(tool,) * found), None, "https://verdicts.example.com")
    assert (len(values["new_tools"]), values["more"]["new_tools"]) == (listed, more)


async def test_disqualified_votes_count_neither_before_nor_after(room: Newsroom) -> None:
    """A cohort that voted in this period and the last is in neither number."""
    await room.import_tools(catalogs.tool("alpha"))
    honest, rigged = await room.vote("alpha", 5, 5), await room.vote("alpha", 20, 0)
    await room.project()
    await room.send_now()
    rigged += await room.vote("alpha", 30, 0)
    await room.vote("alpha", 0, 5)
    await room.committer.submit(CorrectVoters(fresh_id(), rigged, "a farm", tallies_at_head, reinstate=False, operator="op"))
    await room.project()
    told = await read_issue(room.database, await room.send_now(extra=True))
    (mover,) = told.content.movers
    assert (mover.before, mover.community, mover.votes) == ((5, 5), (5, 10), 5)
    assert honest


async def test_the_log_gives_the_same_content_again(room: Newsroom) -> None:
    """Verifying an issue folds the log to its cut-off and finds its content, though much happened since."""
    await room.import_tools(catalogs.tool("alpha", panel=[catalogs.opinion()]), catalogs.tool("beta"))
    voters = await room.vote("alpha", 6, 5)
    await room.project()
    number = await room.send_now()
    await room.vote("beta", 5, 0)
    await room.committer.submit(CorrectVoters(fresh_id(), voters, "a farm", tallies_at_head, reinstate=False, operator="op"))
    await room.project()
    assert await issues.verify(room.settings.database_url, number)
    await room.database.execute("update newsletter.issues set content_hash = '' where number = $1", number)
    assert not await issues.verify(room.settings.database_url, number)


async def test_everybody_gets_a_row_with_the_reason(room: Newsroom) -> None:
    """Other editions, pauses and categories with nothing in them are excluded by name; a bookmark brings a reader in."""
    await room.import_tools(catalogs.tool("alpha", category="Chat"), catalogs.tool("beta", category="Code"))
    keeper = fresh_id()
    await room.committer.submit(SetBookmark(keeper, "alpha", True))
    await room.project()
    await room.send_now()
    await room.vote("alpha", 5, 5)
    plain, chat, monthly, paused = [await room.subscribe(f"{n}@example.com") for n in ("a", "b", "c", "d")]
    music = await room.subscribe("e@example.com", "Music")
    kept = await room.subscribe("f@example.com", "Music", visitor=keeper)
    await room.prefer(chat, categories=["Chat"])
    await room.prefer(monthly, frequency="monthly")
    await room.prefer(paused, paused_until="2999-01-01")
    await room.sign_up("unconfirmed@example.com")
    await room.project()
    number = await room.send_now(extra=True)
    assert await room.accounts(number) == {"pending": 3, "excluded": 3}
    assert await room.reasons(number) == {
        monthly: "reads the other edition", paused: "paused", music: "nothing in its categories"
    }  # fmt: skip
    await room.deliver()
    (mail,) = [m for m in room.sink.to("f@example.com") if b"List-Id" in m]
    assert b"Alpha" in mail
    assert plain != kept


async def test_the_tick_serves_a_period_once(room: Newsroom) -> None:
    """At the hour the weekly issue is compiled and planned; a second worker, or the next minute, finds nothing to do."""
    room.schedule = Schedule(0, 9, "UTC")
    reader = await room.subscribe("reader@example.com")
    await room.project()
    dsn, pool = room.settings.database_url, room.database
    for minutes in (-1, 0, 0, 1, 600):
        await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(minutes=minutes))
    (one,) = await issues.issues(pool)
    assert (one.number, one.edition, one.due_at, one.state) == (1, "weekly", MONDAY, "planned")
    assert await pool.fetchval("select count(*) from newsletter.mails where issue = 1 and reader = $1", reader) == 1


async def test_a_late_issue_catches_up_and_a_very_late_one_waits(room: Newsroom) -> None:
    """Hours late, it is sent; more than a day late, it waits for an operator, who serves that period."""
    dsn, pool = room.settings.database_url, room.database
    due = await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(hours=25))
    assert (due.late, await issues.issues(pool)) == (("weekly",), [])
    await room.send_now(MONDAY + timedelta(hours=25))
    (one,) = await issues.issues(pool)
    assert one.due_at == MONDAY
    assert await room.send_now(MONDAY + timedelta(hours=26)) == one.number
    await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(days=7, hours=23))
    assert [i.due_at for i in await issues.issues(pool)] == [MONDAY + timedelta(days=7), MONDAY]


async def test_sending_now_serves_the_running_period(room: Newsroom) -> None:
    """Sent by hand on a Wednesday, the coming Monday has nothing left to send; the month's first Monday has two editions."""
    dsn, pool = room.settings.database_url, room.database
    await issues.tick(pool, dsn, room.schedule, MONDAY)
    number = await room.send_now(MONDAY + timedelta(days=2))
    assert number == 2
    assert await room.send_now(MONDAY + timedelta(days=3)) == number
    await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(days=7))
    assert len(await issues.issues(pool)) == 2
    await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(days=14))
    assert {i.edition for i in await issues.issues(pool, 2)} == {"weekly", "monthly"}


@pytest.mark.parametrize(
    "changed", [Schedule(0, 10, "UTC"), Schedule(1, 9, "UTC"), Schedule(0, 9, "America/New_York"), Schedule(6, 20, "UTC")]
)
async def test_changed_settings_send_nobody_a_second_issue(room: Newsroom, changed: Schedule) -> None:
    """With another hour, day or zone, Monday's issue isn't sent again, nothing is late, and the next comes in its turn."""
    dsn, pool = room.settings.database_url, room.database
    for hours in (-24, 0):
        await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(hours=hours))
    for hours in (*range(1, 30), 48, 71):
        due = await issues.tick(pool, dsn, changed, MONDAY + timedelta(hours=hours))
        assert (due.editions, due.late) == ((), ())
        assert await periods.late(pool, changed, MONDAY + timedelta(hours=hours)) is None
    for hours in range(72, 240, 12):
        await issues.tick(pool, dsn, changed, MONDAY + timedelta(hours=hours))
    weekly = [issue.due_at for issue in await issues.issues(pool) if issue.edition == "weekly"]
    assert weekly == [changed.next(MONDAY + timedelta(days=4)), MONDAY]


async def test_a_months_issue_that_nobody_sent_comes_with_the_next(room: Newsroom) -> None:
    """With no worker over the month's first Monday and after, the week's issue comes once, and the month's isn't lost."""
    dsn, pool = room.settings.database_url, room.database
    await issues.tick(pool, dsn, room.schedule, MONDAY)
    back = MONDAY + timedelta(days=17)  # the 10th; the 30th and the 7th were missed
    due = await issues.tick(pool, dsn, room.schedule, back)
    assert (due.late, len(await issues.issues(pool))) == (("weekly", "monthly"), 1)
    assert "due at 2099-12-07 09:00" in (await periods.late(pool, room.schedule, back) or "")
    for days in (21, 21, 28):
        await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(days=days))
    sent = [(issue.edition, issue.due_at) for issue in reversed(await issues.issues(pool))]
    assert sent == [
        ("weekly", MONDAY),
        ("weekly", MONDAY + timedelta(days=21)),
        ("monthly", MONDAY + timedelta(days=14)),
        ("weekly", MONDAY + timedelta(days=28)),
    ]


async def test_a_clock_set_back_sends_nothing_again(room: Newsroom) -> None:
    """An hour that comes a second time, and a week that does, find their issue sent."""
    dsn, pool = room.settings.database_url, room.database
    for days in (0, 7, 6, 7, 0, 7, 7.1):
        await issues.tick(pool, dsn, room.schedule, MONDAY + timedelta(days=days))
    assert [issue.due_at for issue in await issues.issues(pool)] == [MONDAY + WEEK, MONDAY]


async def test_nothing_due_writes_nothing(room: Newsroom) -> None:
    """A tick between two issues is one look."""
    next_transaction = "select pg_snapshot_xmax(pg_current_snapshot())::text"  # one that writes takes a number
    before = await room.database.fetchval(next_transaction)
    await issues.tick(room.database, room.settings.database_url, room.schedule, datetime(2020, 1, 1, tzinfo=UTC))
    assert await room.database.fetchval(next_transaction) == before
