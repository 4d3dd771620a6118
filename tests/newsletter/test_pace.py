"""The pace of issues: no day sends more than its cap, whatever workers do, and nothing leaves while the window is shut."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from msgspec.structs import replace

from services.newsletter import issues, ledger, pace
from services.newsletter.pace import Plan, Standing
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.pacing import always, pass_day, planned, shut

DAY = date(2026, 11, 23)


def test_a_cap_grows_by_each_day_that_used_half_of_it_up_to_the_full_rate() -> None:
    """The first day has the warm-up's cap; without a plan there is none."""
    plan = Plan(warm_up=500, growth=1.5, most=2000)
    assert [plan.cap(warmed) for warmed in range(6)] == [500, 750, 1125, 1687, 2000, 2000]
    assert Plan(most=70).cap(9) == 70
    assert Plan().cap(0) is None
    assert isinstance(Plan(warm_up=1, growth=9.9).cap(100_000), int)


def test_a_forecast_says_how_many_days_an_issue_takes_and_who_is_left_after_its_period() -> None:
    """What today has used counts, a small day doesn't warm up, and a cap that never grows ends at the period's end."""
    plan = Plan(warm_up=500, growth=1.5)
    fresh = Standing(plan=plan, day=DAY, mails=0, warmed=0)
    assert fresh.forecast(500) == (1, 0)
    assert fresh.forecast(501) == (2, 0)
    assert fresh.forecast(500 + 750 + 1125) == (3, 0)
    assert replace(fresh, mails=400).forecast(851) == (3, 0)
    assert Standing(plan=Plan(most=100), day=DAY, mails=0, warmed=9).forecast(1000, within=7) == (7, 300)
    assert Standing(plan=Plan(), day=DAY, mails=0, warmed=0).forecast(10**6) == (1, 0)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])
@pytest.mark.parametrize("hours", [(0, 0), (8, 20), (22, 6), (2, 3), (23, 0), (0, 24)])
async def test_the_database_knows_the_window_as_the_forecast_does(room: Newsroom, zone: str, hours: tuple[int, int]) -> None:
    """Both say the same of every half hour of the days on which clocks change, and of the year's end."""
    plan = Plan(zone=zone, opens=hours[0], closes=hours[1] % 24)
    begins = [datetime(2026, *day, tzinfo=UTC) for day in ((3, 28), (10, 24), (4, 4), (12, 31), (2, 14))]
    times = [begin + timedelta(minutes=30 * n) for begin in begins for n in range(96)]
    rows = await room.database.fetch(
        "select newsletter.is_open(t, $2, $3, $4) as is_open, newsletter.day_of(t, $2, $3) as day"
        " from unnest($1::timestamptz[]) t",
        times, zone, plan.opens, plan.closes,
    )  # fmt: skip
    assert [(row["is_open"], row["day"]) for row in rows] == [(plan.is_open(at), plan.day_of(at)) for at in times]
    assert all(row["is_open"] for row in rows) == (plan.opens == plan.closes)


def test_a_window_keeps_to_the_clock_when_it_changes() -> None:
    """From 8 to 20 in Berlin is 7 to 19 UTC in winter and 6 to 18 in summer; from 22 to 6 lies over midnight."""
    berlin = ZoneInfo("Europe/Berlin")
    daily, nightly = Plan(zone="Europe/Berlin", opens=8, closes=20), Plan(zone="Europe/Berlin", opens=22, closes=6)
    for day, opens in (((2026, 1, 15), 7), ((2026, 7, 15), 6)):
        at = datetime(*day, opens, tzinfo=UTC)
        assert daily.is_open(at)
        assert not daily.is_open(at - timedelta(seconds=1))
        assert daily.is_open(at + timedelta(hours=12, seconds=-1))
        assert not daily.is_open(at + timedelta(hours=12))
    night = datetime(2026, 11, 23, 23, tzinfo=berlin)
    assert [nightly.is_open(night + timedelta(hours=n)) for n in (-2, -1, 0, 6, 7)] == [False, True, True, True, False]
    assert nightly.day_of(night) == nightly.day_of(night + timedelta(hours=6)) == DAY


async def test_a_day_sends_its_cap_to_the_oldest_subscribers_and_the_next_day_the_rest(room: Newsroom) -> None:
    """The accounts add up throughout; what was sent today isn't sent tomorrow."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=4))
    number, readers = await planned(room, 7)
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 4, "pending": 3}
    sent = await room.database.fetch("select reader from newsletter.mails where issue = $1 and state = 'accepted'", number)
    assert {row["reader"] for row in sent} == set(readers[:4])
    await pass_day(room)
    await pace.follow(room.database, always(at, most=4))
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 7}
    assert len(room.sink.mails) == 7


async def test_a_warm_up_grows_with_the_days_that_were_used(room: Newsroom) -> None:
    """The second day has one and a half times the first one's cap; a day that sent little changes nothing."""
    at = await room.database.fetchval("select now()")
    plan = always(at, warm_up=4)
    await pace.follow(room.database, plan)
    number, _ = await planned(room, 20)
    for sent in (4, 10, 19):
        await room.deliver()
        assert (await room.accounts(number))["accepted"] == sent
        await pass_day(room)
        await pace.follow(room.database, plan)
    await room.deliver()
    standing = await pace.stand(room.database)
    assert (standing.warmed, standing.cap) == (3, 13)
    await pass_day(room)
    assert (await pace.stand(room.database)).cap == 13


async def test_claims_side_by_side_never_take_more_than_the_cap(room: Newsroom) -> None:
    """Workers that claim at once share the day's cap exactly, and what one of them couldn't attempt goes to another."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=23))
    number, _ = await planned(room, 40)
    held = await ledger.claim(room.database, "held", 30, 5)
    async with asyncpg.create_pool(room.settings.database_url, min_size=6, max_size=6) as pool:
        claims = await asyncio.gather(*(ledger.claim(pool, f"claim {n}", 30, 3) for n in range(12)))
        assert sum(map(len, claims)) == 18
        assert not await ledger.is_due(pool)
        unsent = [ledger.MailOutcome(mail, "deferred", reason="asked to slow down", tried=0) for mail in held]
        for _ in range(2):  # who isn't sure that it was recorded records it again
            await ledger.record(pool, "held", unsent)
        claims = await asyncio.gather(*(ledger.claim(pool, f"again {n}", 30, 3) for n in range(6)))
        assert sum(map(len, claims)) == 5
    assert await room.database.fetchval("select mails from newsletter.days") == 23
    assert (await room.accounts(number)) == {"pending": 12, "deferred": 5, "attempting": 23}


async def test_a_lost_worker_gives_nothing_back(room: Newsroom) -> None:
    """Its mails may have gone out, so they count against the day."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=5))
    number, _ = await planned(room, 8)
    assert len(await ledger.claim(room.database, "lost", -1, 3)) == 3
    await ledger.settle(room.database)
    await room.deliver()
    assert await room.accounts(number) == {"uncertain": 3, "accepted": 2, "pending": 3}


async def test_a_shut_window_holds_digests_and_nothing_else(room: Newsroom) -> None:
    """A confirmation goes out while an issue waits for its hour, and the issue goes when it has come."""
    at = await room.database.fetchval("select now()")
    number, _ = await planned(room, 2)
    await pace.follow(room.database, shut(at))
    await room.sign_up("new@example.com")
    await room.deliver()
    assert [recipient for recipient, _ in room.sink.mails] == ["new@example.com"]
    assert await room.accounts(number) == {"pending": 2}
    await pace.follow(room.database, Plan())
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2}


async def test_a_days_cap_holds_no_single_mail(room: Newsroom) -> None:
    """Confirmations leave and aren't counted after the day's last digest."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=1))
    await planned(room, 2)
    await room.deliver()
    await room.sign_up("new@example.com")
    await room.deliver()
    assert len(room.sink.mails) == 2
    assert await room.database.fetchval("select mails from newsletter.days") == 1


async def test_an_issue_ends_when_the_next_is_planned_whose_first_readers_are_those_it_missed(room: Newsroom) -> None:
    """Nobody gets the old issue after the new one; who missed the old one gets the new one first."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=2))
    first, readers = await planned(room, 5)
    await room.deliver()
    second = await room.send_now(at + timedelta(days=7, minutes=5))
    assert await room.accounts(first) == {"accepted": 2, "cancelled": 3}
    assert set((await room.reasons(first)).values()) == {issues.ENDED}
    await pass_day(room)
    await pace.follow(room.database, always(at, most=2))
    await room.deliver()
    sent = await room.database.fetch("select reader from newsletter.mails where issue = $1 and state = 'accepted'", second)
    assert {row["reader"] for row in sent} == set(readers[2:4])


async def test_a_mail_that_waited_for_its_turn_for_days_is_tried_as_long_as_any(room: Newsroom) -> None:
    """The tries of its reader's server are counted, not the days that it waited."""
    number, _ = await planned(room, 1)
    await room.database.execute("update newsletter.mails set planned_at = planned_at - interval '5 days'")
    room.sink.rcpt = lambda to: "451 4.3.0 later"
    await room.deliver()
    assert await room.accounts(number) == {"deferred": 1}
    assert await room.database.fetchval("select attempts from newsletter.mails where issue = $1", number) == 1


async def test_a_provider_gets_its_share_of_a_day_and_others_theirs(room: Newsroom) -> None:
    """What is beyond it waits for the next day and says so; the mails of one provider hold up nobody else's."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, provider_most=2))
    await room.import_tools(catalogs.tool("a"))
    for n in range(5):
        await room.subscribe(f"reader{n}@{'gmail.com' if n < 4 else 'verdicts.test'}")
    await room.project()
    await room.deliver()
    number = await room.send_now()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 3, "deferred": 2}
    assert set((await room.reasons(number)).values()) == {pace.SHARED}
    waits = await room.database.fetch("select not_before - now() as wait from newsletter.mails where state = 'deferred'")
    assert all(timedelta(hours=10) < row["wait"] < timedelta(hours=14) for row in waits)
    await pass_day(room)
    await room.database.execute("update newsletter.mails set not_before = now() where state = 'deferred'")
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 5}
    assert len(room.sink.mails) == 5


async def test_what_a_provider_was_not_sent_is_given_back(room: Newsroom) -> None:
    """Shares asked for side by side are never more than there is; a failed connection uses none of it."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, provider_most=10))
    async with asyncpg.create_pool(room.settings.database_url, min_size=5, max_size=5) as pool:
        asked = await asyncio.gather(*(pace.share(pool, {"google": 3, f"other{n}": 2}) for n in range(5)))
    assert sum(one.granted["google"] for one in asked) == 10
    assert all(one.granted[f"other{n}"] == 2 for n, one in enumerate(asked))
    await pace.give_back(room.database, asked[0], {"google": 3})
    assert (await pace.share(room.database, {"google": 9})).granted == {"google": 3}
    await pace.follow(room.database, Plan())
    assert (await pace.share(room.database, {"google": 9})).granted == {"google": 9}
