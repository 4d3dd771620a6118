"""Notice that the log went back: a restored backup, or a standby that was promoted without the last commits.

Whoever knew the log remembers the last event that it knew, as a `Mark`, and asks now and then whether the log still holds it.
What was derived from the events that are gone must be forgotten: their positions are given out again.
"""

import logging
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from events.log.reads import Reads

Database: TypeAlias = "Connection[Any] | Pool[Any]"

logger = logging.getLogger(__name__)

HEAD: Final = "select e.position, e.recorded_at, e.stream from log.whole() w cross join lateral log.at_position(w.position) e"
AT: Final = "select e.position, e.recorded_at, e.stream from log.events e where e.position = $1"
HOLDS: Final = "select log.holds($1, $2, $3)"

# Both histories have what was recorded before the lost event was. A part of a rewind that an operator has answered is answered.
NOTE: Final = """
with kept as (select least(log.position_at($2), $1 - 1) as position)
insert into log.rewinds (known_position, known_at, known_stream, kept_position, noticed_by, answered_at)
select $1, $2, $3, k.position, $4,
       (select max(r.answered_at) from log.rewinds r where r.kept_position = k.position and r.known_position >= $1)
from kept k
on conflict do nothing
"""
UNANSWERED: Final = """
select max(r.known_position) as known, min(r.kept_position) as kept, min(r.noticed_at) as since
from log.rewinds r where r.answered_at is null having count(*) > 0
"""
ANSWER: Final = "update log.rewinds set answered_at = now() where answered_at is null"


class Mark(msgspec.Struct, frozen=True):
    """An event that somebody knew: its position, and what no other event at that position has."""

    position: int
    recorded_at: datetime
    stream: UUID


Place: TypeAlias = tuple[int, datetime | None, UUID | None]


def place(mark: Mark | None) -> Place:
    """Return a mark as the arguments of `log.holds`; every log holds None."""
    return (0, None, None) if mark is None else (mark.position, mark.recorded_at, mark.stream)


class Rewind(msgspec.Struct, frozen=True):
    """A log that went back from one position to another, and when that was noticed."""

    known: int
    kept: int
    since: datetime

    @property
    def gone(self) -> int:
        """Return the number of positions that are gone."""
        return self.known - self.kept

    def __str__(self) -> str:
        """Say what happened."""
        return f"the log went back from {self.known} to {self.kept}: {self.gone} positions are gone"


class WentBack(Exception):
    """The log doesn't hold an event that it held."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(f"the log went back: the event at {mark.position} isn't the one that was there")
        self.mark = mark


async def mark_of_head(database: Reads) -> Mark | None:
    """Return the mark of the last event; None for an empty log."""
    row = await database.fetchrow(HEAD)
    return None if row is None else Mark(*row)


async def mark_at(database: Reads, position: int) -> Mark | None:
    """Return the mark of the event at a position; None if there is none."""
    row = await database.fetchrow(AT, position)
    return None if row is None else Mark(*row)


async def holds(database: Reads, mark: Mark | None) -> bool:
    """Return whether the log still holds a mark's event. It holds None."""
    return bool(await database.fetchval(HOLDS, *place(mark)))


async def note(database: Database, mark: Mark, noticed_by: str) -> None:
    """Record that the log doesn't hold a mark's event any more; the newsletter is held from then on."""
    if await database.execute(NOTE, mark.position, mark.recorded_at, mark.stream, noticed_by) == "INSERT 0 1":
        logger.error("%s: %s", noticed_by, await unanswered(database) or WentBack(mark))


async def unanswered(database: Database) -> Rewind | None:
    """Return what no operator has answered yet, as one rewind; None if there is nothing."""
    row = await database.fetchrow(UNANSWERED)
    return None if row is None else Rewind(*row)


async def answer(database: Database) -> None:
    """Take every rewind for known to an operator."""
    await database.execute(ANSWER)
