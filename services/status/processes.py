"""The processes of a site: each says that it lives, in PostgreSQL, where all can read it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import groupby
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from events.log import postgres
from services.status.model import DEAD_SECONDS, Process, Scan

Database: TypeAlias = "Pool[Any] | Connection[Any]"

BEAT_SECONDS: Final = 10.0
LEAVE_SECONDS: Final = 2.0
"""So long a process that stops tries to say so."""

_SAY: Final = """
insert into status.processes (name, kind, host, pid, release, trouble) values ($1, $2, $3, $4, $5, $6)
on conflict (name) do update set seen_at = now(), trouble = excluded.trouble, left_at = null
"""
_SAY_LEFT: Final = "update status.processes set left_at = now() where name = $1"
_SAY_STARTED: Final = "insert into status.starts (name, kind, release) values ($1, $2, $3)"
_PRUNE_STARTS: Final = "delete from status.starts where started_at < now() - interval '8 days'"
# The last of each kind stays, so that a kind that is gone is missed for good.
_PRUNE: Final = """
delete from status.processes p
where p.seen_at < now() - interval '1 hour'
  and exists (select from status.processes n where n.kind = p.kind and n.seen_at > p.seen_at)
"""
# Who left in order is of interest only as the last of its kind, where no other lives. A database of an earlier release has no
# `left_at`.
_READ: Final = f"""
with known as (select p.*, to_jsonb(p) ->> 'left_at' is not null as has_left from status.processes p)
select k.kind, k.host, k.pid, k.release, extract(epoch from now() - k.seen_at)::float8 as silent_seconds, k.trouble, k.has_left
from known k
where not k.has_left and k.seen_at > now() - interval '1 hour'
   or not exists (select from known o where o.kind = k.kind and o.name <> k.name
                  and (o.seen_at > k.seen_at or not o.has_left and o.seen_at > now() - {DEAD_SECONDS} * interval '1 s'))
order by k.kind, k.seen_at desc
"""  # noqa: S608 - made of a constant
_EXISTS: Final = "select to_regclass('status.processes') is not null"

LATE_SECONDS: Final = 1800.0
"""The worker scans for bought votes every ten minutes."""
_READ_SCAN: Final = """
select scanned_to as until, extract(epoch from now() - scanned_at)::float8 as silent_seconds, failed from integrity.scans
"""
_SCANS: Final = "select to_regclass('integrity.scans') is not null"


class Life:
    """The life of this process, told every ten seconds; `trouble` returns what keeps it from its work."""

    def __init__(self, dsn: str, kind: str, trouble: Callable[[], str | None] = lambda: None) -> None:
        self._dsn = dsn
        self._trouble = trouble
        host, pid = socket.gethostname(), os.getpid()
        self._who = (f"{kind}:{host}:{pid}", kind, host, pid, version("ballotpress"))
        self._has_said_started = False

    async def run(self) -> None:
        """Say that the process lives, again and again, until cancelled."""
        while True:
            await self.say(self._trouble())
            await asyncio.sleep(BEAT_SECONDS)

    async def say(self, trouble: str | None) -> None:
        """Say that the process lives. While PostgreSQL is away or has no such table, nobody could read it."""
        try:
            connection = await postgres.connect(self._dsn, "life", seconds=5)
            try:
                await connection.execute(_SAY, *self._who, trouble)
                await connection.execute(_PRUNE)
                await self._say_started(connection)
            finally:
                connection.terminate()
        except postgres.FAILED:
            pass

    async def leave(self) -> None:
        """Say that the process stops in order, when it says nothing else any more: nobody need look for it."""
        with contextlib.suppress(TimeoutError, *postgres.FAILED):
            async with asyncio.timeout(LEAVE_SECONDS):
                connection = await postgres.connect(self._dsn, "life", seconds=LEAVE_SECONDS)
                try:
                    await connection.execute(_SAY_LEFT, self._who[0])
                finally:
                    connection.terminate()

    async def _say_started(self, connection: "Connection[Any]") -> None:
        if not self._has_said_started:
            name, kind, _, _, release = self._who
            await connection.execute(_SAY_STARTED, name, kind, release)
            await connection.execute(_PRUNE_STARTS)
            self._has_said_started = True


async def read_processes(database: Database) -> Sequence[Process]:
    """Return the processes seen in the last hour that didn't leave in order, and of a kind that has none, the last."""
    if not await database.fetchval(_EXISTS):
        return []
    return [Process(**row) for row in await database.fetch(_READ)]


def said_wrong(processes: Sequence[Process]) -> Iterator[tuple[str, str]]:
    """Return what is wrong with processes: the kind, and a sentence. Of several of a kind, one must live."""
    for kind, group in groupby(processes, key=lambda process: process.kind):
        same = list(group)
        last = same[0]
        if not last.lives and kind != "api":
            yield kind, f"no {kind} has shown itself for {last.silent_seconds:.0f} s; the last was {last.pid} on {last.host}"
        for process in same:
            if process.trouble is not None and process.lives:
                yield kind, f"the {kind} {process.pid} on {process.host} {process.trouble}"


async def read_scan(database: Database) -> Scan | None:
    """Return how the scan for bought votes stands; None in a database of an earlier release."""
    if not await database.fetchval(_SCANS):
        return None
    row = await database.fetchrow(_READ_SCAN)
    return None if row is None else Scan(**row)


def said_unscanned(scan: Scan | None) -> str | None:
    """Return what is wrong with the scan; None if nothing is."""
    if scan is None:
        return None
    if scan.failed is not None:
        return f"the last scan for bought votes failed: {scan.failed}"
    if scan.silent_seconds is not None and scan.silent_seconds > LATE_SECONDS:
        return f"no scan for bought votes has ended for {scan.silent_seconds / 60:.0f} minutes"
    return None
