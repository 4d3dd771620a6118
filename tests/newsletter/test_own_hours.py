"""A reader's own hour: a scheduled issue leaves when it is its hour where the reader is, and nobody can read where that is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from events.commands.subscribers import EraseSubscriber
from services.newsletter import issues, own_hours, pace
from services.newsletter.own_hours import OwnHours, is_zone, next_hour
from services.person.newsletter import copy_of
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.pacing import always, planned

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "leaves"),
    [
        ("UTC", MONDAY),
        ("Africa/Abidjan", MONDAY),
        ("America/New_York", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 11, 24, 8, tzinfo=UTC)),  # it is ten there already
        ("Asia/Kolkata", datetime(2026, 11, 24, 3, 30, tzinfo=UTC)),
        ("Pacific/Kiritimati", datetime(2026, 11, 23, 19, tzinfo=UTC)),
    ],
)
def test_it_leaves_the_next_time_that_it_is_the_issues_hour_there(zone: str, leaves: datetime) -> None:
    """At once where it is that hour now, else within a day."""
    assert next_hour(zone, 9, MONDAY) == leaves


@pytest.mark.parametrize("hour", [0, 2, 3, 9, 23])
def test_on_days_when_clocks_change_it_still_comes_within_a_day(hour: int) -> None:
    """An hour that is skipped is read as the one after, one that comes twice as its first."""
    for zone in ("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/Santiago"):
        for since in (datetime(2026, *day, 1, 15, tzinfo=UTC) for day in ((3, 29), (10, 25), (4, 5), (9, 6), (10, 4))):
            leaves = next_hour(zone, hour, since)
            assert since <= leaves <= since + timedelta(hours=25)
            assert leaves.astimezone(ZoneInfo(zone)).hour in (hour, hour + 1)


def test_zones_are_those_that_browsers_name() -> None:
    """Old names too; files of the database that are no zones, paths and other words are none."""
    assert all(map(is_zone, ["UTC", "Europe/Berlin", "Asia/Calcutta", "America/Argentina/Ushuaia", "Etc/GMT+5"]))
    assert not any(map(is_zone, ["", "Mars/Olympus", "../../etc/passwd", "localtime", "europe/berlin", "Europe", "CEST"]))
    assert "Europe/Berlin" in own_hours.zones()


async def test_a_scheduled_issue_is_planned_for_each_readers_hour(room: Newsroom) -> None:
    """Without a zone, or once it is taken back, it leaves at once; an operator's "now" is now for all."""
    await room.import_tools(catalogs.tool("a"))
    zones = {"york@example.com": "America/New_York", "berlin@example.com": "Europe/Berlin", "none@example.com": None}
    readers = {address: await room.subscribe(address, zone=zone) for address, zone in zones.items()}
    moved, gone = [await room.subscribe(f"{name}@example.com", zone="Asia/Tokyo") for name in ("moved", "gone")]
    sealed = (await room.vault.key_of(room.database, moved)).seal(own_hours.FIELD, "Etc/GMT+1")
    await room.prefer(moved, zone=sealed)
    await room.prefer(gone, zone=None)
    await room.project()
    due_at = await room.database.fetchval("select date_trunc('hour', now())")
    own = OwnHours(room.vault, due_at.hour)
    number = await issues.compile_issue(room.settings.database_url, "weekly", due_at, due_at)
    assert number is not None
    await issues.plan(room.database, number, room.schedule, due_at, own)
    rows = await room.database.fetch("select reader, not_before, planned_at from newsletter.mails where issue = $1", number)
    waits = {row["reader"]: row["not_before"] - max(row["planned_at"], due_at) for row in rows}
    assert timedelta(0) < waits[readers["none@example.com"]] < timedelta(seconds=1)
    assert timedelta(0) < waits[gone] < timedelta(seconds=1)
    leaves = {row["reader"]: row["not_before"].replace(second=0, microsecond=0) for row in rows}
    assert leaves[moved] == due_at + timedelta(hours=1)
    assert leaves[readers["york@example.com"]] == next_hour("America/New_York", due_at.hour, due_at)
    assert leaves[readers["berlin@example.com"]] == next_hour("Europe/Berlin", due_at.hour, due_at)
    now = await room.send_now(extra=True)
    assert await room.database.fetchval(
        "select max(not_before - planned_at) < interval '1 second' from newsletter.mails where issue = $1", now
    )


async def test_beyond_the_days_cap_a_mail_keeps_its_hour_on_the_next_day(room: Newsroom) -> None:
    """It isn't sent at midnight because the day before was full; while the day has room, nothing is moved."""
    at = await room.database.fetchval("select now()")
    await pace.follow(room.database, always(at, most=1))
    number, readers = await planned(room, 3)
    own = "update newsletter.mails set planned_at = now() - interval '3 hours', not_before = now() - interval '1 hour'"
    await room.database.execute(f"{own} where issue = $1 and reader <> $2", number, readers[0])
    before = "select reader, not_before from newsletter.mails where issue = $1"
    were = dict(await room.database.fetch(before, number))
    await pace.keep_hours(room.database)
    assert dict(await room.database.fetch(before, number)) == were
    await room.database.execute("update newsletter.days set mails = cap")
    for _ in range(2):
        await pace.keep_hours(room.database)
    moved = {reader: leaves - were[reader] for reader, leaves in await room.database.fetch(before, number)}
    assert moved == {readers[0]: timedelta(0), readers[1]: timedelta(days=1), readers[2]: timedelta(days=1)}


async def test_a_zone_is_sealed_and_erased_with_its_reader(room: Newsroom) -> None:
    """It stands open in no table and no event; its reader's copy names it; after the erasure nobody can."""
    reader = await room.subscribe("ada@example.com", zone="Pacific/Kiritimati")
    await room.project()
    assert (await copy_of(room.database, room.vault, reader))["time_zone"] == "Pacific/Kiritimati"
    for table in ("log.events", "subscribers_2.subscribers", "newsletter.mails"):
        assert not await room.database.fetchval(f"select exists (select from {table} t where t::text like '%Kiritimati%')")  # noqa: S608
    await room.committer.submit(EraseSubscriber(reader))
    await room.project()
    assert (await copy_of(room.database, room.vault, reader))["time_zone"] is None
    async with room.database.acquire() as connection, connection.transaction():
        await own_hours.stage(connection, OwnHours(room.vault, 9), MONDAY)
        assert await connection.fetchval("select count(*) from own_hours") == 0
