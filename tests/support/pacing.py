"""The pace of issues, for the tests: plans whose day doesn't end under a test, and an issue to send by them."""

from datetime import datetime

from services.newsletter.pace import Plan
from tests.support import catalogs
from tests.support.newsroom import Newsroom


def always(at: datetime, **caps: int) -> Plan:
    """Return a plan whose window never shuts, and whose day begins half a day away: no test's day ends under it."""
    away = (at.hour + 12) % 24
    return Plan(opens=away, closes=away, **caps)


def shut(at: datetime) -> Plan:
    """Return a plan whose window opens in six hours."""
    return Plan(opens=(at.hour + 6) % 24, closes=(at.hour + 8) % 24)


async def pass_day(room: Newsroom) -> None:
    """Let every day that was counted be a day ago."""
    for days in (10_000, -9_999):  # so that no row meets the one of the day before it
        await room.database.execute("update newsletter.days set day = day - $1::integer", days)


async def planned(room: Newsroom, readers: int) -> tuple[int, list[str]]:
    """Plan an issue for so many readers; give its number and them, the oldest subscriber first."""
    await room.import_tools(catalogs.tool("a"))
    subscribers = [await room.subscribe(f"reader{n}@example.com") for n in range(readers)]
    await room.project()
    await room.deliver()  # the confirmations, which nobody needs any more
    return await room.send_now(), subscribers
