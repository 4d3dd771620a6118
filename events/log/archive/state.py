"""What is known of each archived part, and the locks by which those who change or read one keep out of each other's way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Any, Final, Literal

import asyncpg
import msgspec
from asyncpg import Connection

from events.log.reads import Reads

State = Literal["written", "packed", "loaded"]

_COLUMNS: Final = "a.part, a.first_position, a.last_position, a.place, a.name, a.bytes, a.chain, a.state"
_READ: Final = f"select {_COLUMNS} from log.archives a order by a.part"  # noqa: S608 - a constant
_READ_BETWEEN: Final = (
    f"select {_COLUMNS} from log.archives a"  # noqa: S608 - a constant
    " where a.last_position >= $1 and a.first_position <= $2 and a.state <> 'written' order by a.part"
)
_READ_PART: Final = "select p.part, p.first_position, p.last_position from log.parts p where p.part = $1"
_KEEP: Final = """
insert into log.archives (part, first_position, last_position, first_at, last_at, place, name, bytes, chain)
values ($1, $2, $3, log.time_of($2), log.time_of($3), $4, $5, $6, $7)
on conflict (part) do update set place = excluded.place, name = excluded.name, bytes = excluded.bytes, chain = excluded.chain,
                                 written_at = now()
"""
_SWAP: Final = "select log.swap_part($1, $2, $3, $4)"

_HOLDER: Final = """
select format('Process %s (%s) has had a transaction on the log open for %s s', a.pid,
              coalesce(nullif(a.application_name, ''), a.backend_type),
              extract(epoch from clock_timestamp() - a.xact_start)::bigint)
from pg_stat_activity a
where a.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - interval '2 seconds' and exists (
    select from pg_locks l where l.pid = a.pid and l.granted and a.datname = current_database()
    and (l.relation = 'log.events'::regclass or l.relation in (select i.inhrelid from pg_inherits i
                                                               where i.inhparent = 'log.events'::regclass)))
order by a.xact_start limit 1
"""

_READERS: Final = """
select format('Process %s (%s)', a.pid, a.application_name) as who, a.backend_start as since
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.classid = $1 and l.objid = $2 and l.granted and a.datname = current_database()
order by a.backend_start
"""
_CHANGING: Final = 0x61726368
_READING: Final = 0x72656164

SWAP_SECONDS: Final = 120.0
"""For how long a swap is tried again and again, until nobody holds the log for a moment."""


class Archive(msgspec.Struct, frozen=True):
    """A part that was written to a file: its positions, where the file is, its hash chain, and what the database holds."""

    part: int
    first: int
    last: int
    place: str
    name: str
    bytes: int
    chain: str
    state: State

    @property
    def path(self) -> str:
        """Return where the file is."""
        return f"{self.place}/{self.name}"


class Part(msgspec.Struct, frozen=True):
    """A part of the log, and its positions."""

    part: int
    first: int
    last: int


class FileBroken(Exception):
    """A part's file isn't what was written; the message is one sentence that names it."""


class ArchiveRefused(Exception):
    """A part can't be archived, or brought back; the message is one sentence that says why, and what to do."""


async def read_all(database: Reads) -> Sequence[Archive]:
    """Return all parts that were ever written to a file and are known to be there."""
    return [Archive(*row) for row in await database.fetch(_READ)]


async def is_any_away(database: Reads) -> bool:
    """Return whether a part is archived, so that whoever goes through the log has to have it loaded."""
    return any(one.state != "written" for one in await read_all(database))


async def read_between(database: Reads, first: int, last: int) -> Sequence[Archive]:
    """Return the archived parts that hold some of the positions from one to another, be they packed or loaded."""
    return [Archive(*row) for row in await database.fetch(_READ_BETWEEN, first, last)]


async def read_one(database: Reads, part: int) -> Archive | None:
    """Return one part's archive; None if it was never written."""
    return next((one for one in await read_all(database) if one.part == part), None)


async def read_part(database: Reads, part: int) -> Part:
    """Return a part of the log. Raises ArchiveRefused for a number that none has."""
    row = await database.fetchrow(_READ_PART, part)
    if row is None:
        raise ArchiveRefused(f"The log has no part {part}: `ballotpress events parts` lists them")
    return Part(*row)


async def keep(connection: "Connection[Any]", part: Part, place: str, name: str, size: int, chain: str) -> None:
    """Note where a part's file is; what the database holds stays as it is."""
    await connection.execute(_KEEP, part.part, part.first, part.last, place, name, size, chain)


@contextlib.asynccontextmanager
async def changing(connection: "Connection[Any]", part: int) -> AsyncIterator[None]:
    """Be the only one that changes a part for a while; waits for whoever does."""
    await connection.execute("select pg_advisory_lock($1, $2)", _CHANGING, part)
    try:
        yield
    finally:
        await _unlock(connection, "select pg_advisory_unlock($1, $2)", _CHANGING, part)


@contextlib.asynccontextmanager
async def unless_in_use(connection: "Connection[Any]", part: int) -> AsyncIterator[bool]:
    """Keep readers away from a loaded part for a while; yields whether that worked, as it doesn't while there are some."""
    async with _trying(connection, _READING, part) as free:
        yield free


@contextlib.asynccontextmanager
async def unless_changing(connection: "Connection[Any]", part: int) -> AsyncIterator[bool]:
    """Be the only one that changes a part for a while; yields whether that worked, as it doesn't while somebody does."""
    async with _trying(connection, _CHANGING, part) as free:
        yield free


@contextlib.asynccontextmanager
async def _trying(connection: "Connection[Any]", key: int, part: int) -> AsyncIterator[bool]:
    free: bool = await connection.fetchval("select pg_try_advisory_lock($1, $2)", key, part)
    try:
        yield free
    finally:
        if free:
            await _unlock(connection, "select pg_advisory_unlock($1, $2)", key, part)


async def begin_reading(connection: "Connection[Any]", part: int) -> None:
    """Let nobody take a part away until `end_reading`, or the session's end."""
    await connection.execute("select pg_advisory_lock_shared($1, $2)", _READING, part)


async def who_reads(connection: "Connection[Any]", part: int) -> str:
    """Return who reads a loaded part, and since when, as a sentence's beginning."""
    found = await connection.fetch(_READERS, _READING, part)
    said = [f"{row['who']} has read the log since {row['since']:%Y-%m-%d %H:%M:%S} UTC" for row in found]
    return "; ".join(said) or "Somebody has read the log"


async def end_reading(connection: "Connection[Any]", part: int) -> None:
    """Let others take a part away."""
    await _unlock(connection, "select pg_advisory_unlock_shared($1, $2)", _READING, part)


async def _unlock(connection: "Connection[Any]", statement: str, key: int, part: int) -> None:
    if not connection.is_closed():
        await connection.execute(statement, key, part)


async def swap(
    connection: "Connection[Any]",
    part: int,
    taken: str,
    aside: str,
    becomes: State,
    otherwise: str,
    seconds: float | None = None,
) -> None:
    """Put a table in a part's place. Raises ArchiveRefused, with who held the log for SWAP_SECONDS or so many, and `otherwise`.

    While a transaction holds the log for seconds nothing is tried: everybody else would wait behind each try.
    """
    end = monotonic() + (SWAP_SECONDS if seconds is None else seconds)
    while True:
        holder = await connection.fetchval(_HOLDER)
        try:
            if holder is None:
                await connection.execute(_SWAP, part, taken, aside, becomes)
                return
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError):
            holder = "Others' transactions hold the log"
        if monotonic() > end:
            raise ArchiveRefused(f"{holder}: see `ballotpress status`. {otherwise}")
        await asyncio.sleep(0.2)
