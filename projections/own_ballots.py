"""Read a voter's own ballots as they stand in the public log: every entry, the newest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from asyncpg import Connection, Pool

from events import ballots
from events.log.event import Event, Recorded, Registry
from projections.registry import named
from projections.served import TIME_OF

_EVENTS: Final = Registry(ballots.EVENTS)

# A voter's streams are one range of the primary key. A name is missing where the cards passed over the tool's event, and an
# archived ballot's entry is made from what stayed of it.
ENTRIES = named("""
select e.position, e.recorded_at, e.data->>'tool' as tool, e.data->>'choice' as choice, p.entry,
       t.slug, t.name, coalesce(t.listed, false) as listed, e.type, e.data
from log.between_streams(log.first_stream($1), log.last_stream($1)) e
left join lateral log.entries_taken(e.position - 1, e.position) p on true
left join {cards}.tools t on t.tool = e.data->>'tool'
where e.type in ('VoteCast', 'VoteRetracted') and e.data->>'voter' = $1
order by e.position desc limit $2
""")

IS_OUT = named("select exists (select from {hours}.disqualified d where d.voter = $1)")


class OwnEntry(msgspec.Struct, frozen=True):
    """An entry of a voter's ballot on a tool; `choice` is None for a vote that was taken back, `slug` for an unknown tool."""

    position: int
    recorded_at: datetime
    tool: str
    choice: str | None
    entry: str
    slug: str | None
    name: str | None
    listed: bool


async def entries(database: "Connection[Any] | Pool[Any]", voter: str, limit: int) -> Sequence[OwnEntry]:
    """Return up to `limit` entries of all ballots of a voter, newest first."""
    return [_own(*row) for row in await database.fetch(ENTRIES, voter, limit)]


def _own(
    position: int, at: datetime, tool: str, choice: str | None, entry: str | None, slug: str | None, name: str | None,
    listed: bool, type_: str, data: str,
) -> OwnEntry:  # fmt: skip
    made = entry or ballots.public_entry(_EVENTS.decode(type_, 1, data), at)
    return OwnEntry(position, at, tool, choice, made, slug, name, listed)


async def entry(database: "Connection[Any] | Pool[Any]", last: Recorded[Event]) -> bytes:
    """Return the entry of a ballot's last event, made from that: an archived one need not be read from its file."""
    return ballots.public_entry(last.event, await database.fetchval(TIME_OF, last.position)).encode()


async def is_out(database: "Connection[Any] | Pool[Any]", voter: str) -> bool:
    """Return whether a correction has taken the voter's ballots out of the tallies."""
    return bool(await database.fetchval(IS_OUT, voter))
