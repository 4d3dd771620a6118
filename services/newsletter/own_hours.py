"""The readers' own hours: an issue leaves when it is its hour where each of them is. Who told no zone gets it at once.

A zone is sealed as the address is, so no statement can read it: before an issue is planned, zones are opened some thousand at a
time, and the plan takes the times from a table of its transaction.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

import msgspec
from asyncpg import Connection

from events.log.vault import Key, SealBroken, Vault
from projections.registry import named
from services.newsletter.schedule import zone_of

AT_ONCE: Final = 5000
FIELD: Final = "zone"
"""The field that a zone is sealed as."""

# Each key is looked up by itself, in its own part of the vault: a list of owners would be looked for in every part.
READ_ZONES: Final = named("""
select s.subscriber as owner, s.sealed_zone, k.wrapped, k.wrapped_under
from (select z.subscriber, z.sealed_zone from {subscribers}.subscribers z
      where z.subscriber > $1 and z.sealed_zone is not null and z.status = 'confirmed' and z.suppressed is null
      order by z.subscriber limit $2) s
cross join lateral (select k.wrapped, k.wrapped_under from vault.keys k where k.owner = s.subscriber offset 0) k
order by s.subscriber
""")
STAGE: Final = """
create temporary table own_hours (reader text not null collate "C", leaves_at timestamptz not null) on commit drop
"""


class OwnHours(msgspec.Struct, frozen=True):
    """The vault that opens zones, and the hour of the day at which issues leave."""

    vault: Vault
    hour: int


@cache
def _zones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if "/" in name) | {"UTC"}


def is_zone(name: str) -> bool:
    """Tell whether a name is that of a time zone, as browsers say it."""
    return name in _zones()


def zones() -> list[str]:
    """Return the names of all time zones that people choose from, in order."""
    return sorted(name for name in _zones() if not name.startswith(("Etc/", "SystemV/", "posix/", "right/")))


def next_hour(zone: str, hour: int, since: datetime) -> datetime:
    """Return when it is this hour in a zone for the first time from a time on, in UTC."""
    day = since.astimezone(zone_of(zone)).date()
    today = _at(zone, hour, day)
    return today if today >= since else _at(zone, hour, day + timedelta(days=1))


def _at(zone: str, hour: int, day: date) -> datetime:
    # An hour that the clocks skip is read as the same span after midnight, one that comes twice as its first (PEP 495).
    return datetime.combine(day, time(hour), zone_of(zone)).astimezone(UTC)


def open_zone(key: Key | None, sealed: str | None) -> str | None:
    """Return a sealed zone; None if there is none, or it can't be opened or isn't known any more."""
    if key is None or sealed is None:
        return None
    try:
        name = key.open(FIELD, sealed)
    except SealBroken:
        return None
    return name if is_zone(name) else None


async def stage(connection: "Connection[Any]", own: OwnHours | None, due_at: datetime) -> None:
    """Make the table of this transaction that says when the issue due at a time leaves for whom; empty without own hours."""
    await connection.execute(STAGE)
    if own is None:
        return
    leaves_at: dict[str | None, datetime] = {}
    last = ""
    while rows := await connection.fetch(READ_ZONES, last, AT_ONCE):
        opened = {row["owner"]: open_zone(own.vault.key_in(row), row["sealed_zone"]) for row in rows}
        for zone in set(filter(None, opened.values())) - leaves_at.keys():
            leaves_at[zone] = next_hour(zone, own.hour, due_at)
        leaving = [(reader, leaves_at[zone]) for reader, zone in opened.items() if zone in leaves_at]
        await connection.copy_records_to_table("own_hours", records=leaving)
        last = rows[-1]["owner"]
    await connection.execute("analyze own_hours")
